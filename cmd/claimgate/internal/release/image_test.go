package release_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/child"
)

const image = "localhost/claimgate:test"

// tool builds and runs images: the first program of the three that works.
type tool struct {
	name  string
	flags []string // before its command
	dir   string   // what buildah keeps, apart from the user's own images
}

func newTool(t *testing.T) *tool {
	t.Helper()
	for _, name := range []string{"docker", "podman", "buildah"} {
		if exec.Command(name, "info").Run() != nil {
			continue
		}
		b := &tool{name: name}
		if name == "buildah" {
			dir, err := os.MkdirTemp("", "claimgate-image-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			b.dir = dir
			b.flags = []string{"--storage-driver", "vfs", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run")}
		}
		return b
	}
	const missing = "install docker (and start its daemon), podman or buildah first"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return nil
}

func (b *tool) run(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, root, nil, b.name, append(slices.Clone(b.flags), args...)...)
}

func (b *tool) build(t *testing.T) {
	t.Helper()
	run(t, root, nil, "nice", "make", "image", "IMAGE="+image, "IMAGE_TOOL="+b.name, "BUILDAH_FLAGS="+strings.Join(b.flags, " "))
}

// save is the image as an archive that each of the three can write.
func (b *tool) save(t *testing.T) map[string]file {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image.tar")
	if b.name == "buildah" {
		b.run(t, "push", image, "docker-archive:"+out)
	} else {
		b.run(t, "save", "-o", out, image)
	}
	return readTar(t, "the image", bytes.NewReader(read(t, out)))
}

// serve runs the image as its own user, with the machine's network and with a folder
// where the configuration is expected.
func (b *tool) serve(t *testing.T, config string) *child.Process {
	t.Helper()
	var cmd *exec.Cmd
	if b.name == "buildah" {
		container := strings.TrimSpace(b.run(t, "from", "--pull-never", image))
		t.Cleanup(func() { exec.Command(b.name, append(b.flags, "rm", container)...).Run() }) //nolint:errcheck // its folder goes too
		args := append(slices.Clone(b.flags), "run", "--isolation", "chroot", "-v", config+":/etc/claimgate:ro", container, "--")
		cmd = exec.Command(b.name, append(args, entrypoint...)...)
	} else {
		cmd = exec.Command(b.name, "run", "--rm", "--network", "host", "--read-only", "--cap-drop", "ALL",
			"--security-opt", "no-new-privileges", "-v", config+":/etc/claimgate:ro,Z", image)
	}
	p, err := child.Start(cmd, filepath.Join(t.TempDir(), "gate.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// entrypoint is what the image starts; buildah run has to be told.
var entrypoint = []string{"/claimgate", "serve", "--config", "/etc/claimgate/claimgate.yaml"}

func TestTheImageIsTheBinaryAndAuthorities(t *testing.T) {
	b := newTool(t)
	b.build(t)

	saved := b.save(t)
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(saved["manifest.json"].data, &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest.json: %v\n%s", err, saved["manifest.json"].data)
	}
	var config struct {
		Config struct {
			User            string
			Entrypoint, Cmd []string
			ExposedPorts    map[string]struct{}
		}
	}
	if err := json.Unmarshal(saved[manifest[0].Config].data, &config); err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if c.User != "65532:65532" || !slices.Equal(append(c.Entrypoint, c.Cmd...), entrypoint) || len(c.ExposedPorts) != 2 {
		t.Errorf("user %q, starts %q %q, ports %v", c.User, c.Entrypoint, c.Cmd, c.ExposedPorts)
	}
	files := map[string]file{}
	for _, layer := range manifest[0].Layers {
		for name, f := range readTar(t, layer, bytes.NewReader(saved[layer].data)) {
			files[name] = f
		}
	}
	if binary := files["claimgate"]; len(files) != 2 || binary.mode&0o777 != 0o755 {
		t.Errorf("%d files, the binary's mode is %o", len(files), binary.mode)
	}
	bundle := files["etc/ssl/certs/ca-certificates.crt"]
	if !x509.NewCertPool().AppendCertsFromPEM(bundle.data) || bundle.mode&0o444 != 0o444 {
		t.Errorf("the CA bundle has %d bytes, mode %o, and no certificate that can be read", len(bundle.data), bundle.mode)
	}

	t.Run("it serves, and says that it is well", func(t *testing.T) { testImageServes(t, b) })
}

// Health is what kubelet asks: HTTP on the admin port, or gRPC.
func testImageServes(t *testing.T, b *tool) {
	dir := t.TempDir()
	config := "server: {listen: 127.0.0.1:0, drainDelay: 0s}\nadmin: {listen: 127.0.0.1:0}\nlog: {format: json}\npolicies: [{name: open, access: public}]\n"
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "claimgate.yaml"), []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
	p := b.serve(t, dir)
	addr, admin := addresses(t, p)

	for _, path := range []string{"/livez", "/readyz"} {
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(io.LimitReader(answer.Body, 1000))
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || string(body) != "ok\n" {
			t.Errorf("%s: %s %q %v", path, answer.Status, body, err)
		}
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health: %v %v", health, err)
	}
	if uid := ownerOf(t, addr); uid != 65532 {
		t.Errorf("it runs as user %d", uid)
	}
}

// addresses waits until the gate says where it serves.
func addresses(t *testing.T, p *child.Process) (listen, admin string) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		for line := range strings.Lines(p.Log()) {
			var record struct{ Msg, Listen, Admin string }
			if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "claimgate serves" {
				return record.Listen, record.Admin
			}
		}
		select {
		case <-p.Ended():
			t.Fatalf("it ended: %v\n%s", p.Err(), p.Log())
		case <-deadline:
			t.Fatalf("it does not serve:\n%s", p.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ownerOf is the user whose process listens on a loopback address, as Linux tells.
func ownerOf(t *testing.T, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	local := fmt.Sprintf("0100007F:%04X", number)
	for line := range strings.Lines(string(read(t, "/proc/net/tcp"))) {
		if fields := strings.Fields(line); len(fields) > 7 && fields[1] == local && fields[3] == "0A" {
			var uid int
			if _, err := fmt.Sscan(fields[7], &uid); err != nil {
				t.Fatal(err)
			}
			return uid
		}
	}
	t.Fatalf("nobody listens on %s", addr)
	return 0
}
