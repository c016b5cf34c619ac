package numbers

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

func cover() Measurement {
	return Measurement{
		Name:  "cover",
		Title: "Statements that tests run",
		About: "What `make cover` says of the library: the statements that its own unit tests do not reach.",
		Figures: []Figure{
			{"statements of `oidc` that no test runs", "%", median(10)},
		},
		run: runCover,
	}
}

var covered = regexp.MustCompile(`(?m)^oidc: ([0-9.]+) % of statements covered$`)

func runCover(ctx context.Context, r *recorder, _ Scale) error {
	r.say("make cover")
	out, err := exec.CommandContext(ctx, "make", "cover").CombinedOutput()
	found := covered.FindSubmatch(out)
	if found == nil { // with too little coverage it fails too, and says how much there is
		return fmt.Errorf("make cover: %w: %s", err, bytes.TrimSpace(out))
	}
	percent, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		return err
	}
	r.add("statements of `oidc` that no test runs", 100-percent)
	return nil
}
