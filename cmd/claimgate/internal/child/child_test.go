package child_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is started twice, a server that is started again for example, has one log.
func TestOutputGoesToTheEndOfTheLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	var p *child.Process
	for _, word := range []string{"one", "two"} {
		var err error
		if p, err = child.Start(exec.Command("sh", "-c", "echo "+word+" >&2; exit 7"), log); err != nil {
			t.Fatal(err)
		}
		<-p.Ended()
		if p.Err() == nil {
			t.Error("exit code 7 is no error")
		}
	}
	if got := p.Log(); got != "one\ntwo\n" {
		t.Errorf("the log is %q", got)
	}
	if got := child.Tail(p.Log(), 1); got != "two" {
		t.Errorf("its last line is %q", got)
	}
}

func TestStopAsksAndWaits(t *testing.T) {
	p, err := child.Start(exec.Command("sh", "-c", "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(p.Log(), "ready") {
		select {
		case <-p.Ended():
			t.Fatal("it ended by itself:", p.Err())
		default:
		}
	}
	p.Stop()
	if got := p.Log(); p.Err() != nil || !strings.Contains(got, "asked") {
		t.Errorf("it ended with %v, its log is %q", p.Err(), got)
	}
	p.Stop() // is gone already
}

func TestWhatIsNoProgramIsAnError(t *testing.T) {
	if _, err := child.Start(exec.Command(filepath.Join(t.TempDir(), "nothing")), filepath.Join(t.TempDir(), "log")); err == nil {
		t.Error("no error")
	}
}
