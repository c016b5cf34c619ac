package oidc

import (
	"context"
	"crypto/elliptic"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fileBench is a store with one issuer whose keys are in a file.
type fileBench struct {
	*bench
	file string
	log  *fetchLog
}

func newFileBench(t *testing.T, cfg KeysConfig) *fileBench {
	t.Helper()
	b := &fileBench{bench: &bench{T: t}, file: filepath.Join(t.TempDir(), "keys.json"), log: &fetchLog{}}
	b.store = newKeyStore(keyStoreConfig{
		clock: time.Now, logger: slog.New(slog.DiscardHandler), onFetch: b.log.add, jitter: func() float64 { return 1 }, // the latest
	})
	t.Cleanup(b.store.close)
	_, b.a = ecJWK(t, "a", elliptic.P256())
	_, b.b = ecJWK(t, "b", elliptic.P256())
	var err error
	if b.keys, err = b.store.add(issuerKeysConfig{issuer: "any text", name: "test", jwksFile: b.file, keys: cfg}); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestChangeOfAKeyFileIsNoticedWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFileBench(t, KeysConfig{})
		writeFile(t, b.file, setOf(b.a))
		stop := b.running()
		defer stop()
		b.want(b.ask("a", signedBy(t, b.a)), "")
		// Neither the size nor the time tells.
		info, err := os.Stat(b.file)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, b.file, setOf(b.b))
		if err := os.Chtimes(b.file, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := b.keys.snap.Load().set.byKID["b"]; !ok {
			t.Error("the old keys are still in place")
		}
		if s := b.keys.status(); s.Stale || s.UnknownKeyFetched != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestKeyFileBehindALinkThatIsSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFileBench(t, KeysConfig{})
		dir := filepath.Dir(b.file)
		// As Kubernetes mounts a ConfigMap: keys.json -> ..data/keys.json, ..data -> ..1
		for i, jwk := range []members{b.a, b.b} {
			if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("..", i)), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, fmt.Sprint("..", i), "keys.json"), setOf(jwk))
		}
		link := func(to, name string) {
			t.Helper()
			if err := os.Symlink(to, filepath.Join(dir, "new")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		link("..0", "..data")
		link("..data/keys.json", "keys.json")
		stop := b.running()
		defer stop()
		b.want(b.ask("a", signedBy(t, b.a)), "")
		link("..1", "..data")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.want(b.ask("b", signedBy(t, b.b)), "")
	})
}

func TestBadKeyFileDoesNotReplaceGoodKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFileBench(t, KeysConfig{MaxStale: time.Hour})
		writeFile(t, b.file, setOf(b.a))
		stop := b.running()
		defer stop()
		b.want(b.ask("a", signedBy(t, b.a)), "")
		for _, tt := range []struct{ content, result, text string }{
			{"", "jwks connect", "there is no such file: put it there"},
			{"private", "jwks malformed", "not a JSON object with an array"},
			{`{"keys":[]}`, "jwks empty", "no keys"},
			{`{"keys":[{"kty":"oct"}]}`, "jwks empty", "no usable key"},
			{strings.Repeat(" ", maxDocumentSize+1), "jwks too_large", "is over 1024 KiB"},
			{setOf(make129(b.a)...), "jwks too_large", "more than 128 keys"},
		} {
			if err := os.RemoveAll(b.file); err != nil {
				t.Fatal(err)
			}
			if tt.content != "" {
				writeFile(t, b.file, tt.content)
			}
			b.log.took()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if events := b.log.took(); len(events) == 0 || events[len(events)-1] != tt.result {
				t.Errorf("events %q, want %s", events, tt.result)
			}
			s := b.keys.status()
			if !s.Usable || !s.Stale || !strings.Contains(s.LastError, "key set file "+b.file) || !strings.Contains(s.LastError, tt.text) {
				t.Errorf("status %+v, want the error %q", s, tt.text)
			}
			if strings.Contains(s.LastError, "private") {
				t.Errorf("%q quotes the file", s.LastError)
			}
			b.want(b.ask("a", signedBy(t, b.a)), "")
		}
		time.Sleep(time.Hour)
		b.want(b.ask("a", signedBy(t, b.a)), KeysUnavailable)
		writeFile(t, b.file, setOf(b.a))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := b.keys.status(); !s.Usable || s.Stale || s.LastError != "" {
			t.Errorf("after the file was mended: %+v", s)
		}
	})
}

func make129(jwk members) []fmt.Stringer {
	list := make([]fmt.Stringer, maxKeys+1)
	for i := range list {
		list[i] = jwk
	}
	return list
}

// A readable file is a success at each look, however old it is.
func TestKeyFileNeverGetsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFileBench(t, KeysConfig{Refresh: time.Second, MaxStale: time.Second})
		writeFile(t, b.file, setOf(b.a))
		stop := b.running()
		defer stop()
		for range 5 {
			time.Sleep(time.Minute)
			b.want(b.ask("a", signedBy(t, b.a)), "")
		}
		if events := b.log.took(); events[0] != "jwks ok" || events[1] != "jwks not_modified" {
			t.Errorf("events %q", events[:2])
		}
	})
}

// Without Run, a token with an unknown key has the file looked at.
func TestUnknownKeyHasTheFileLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFileBench(t, KeysConfig{})
		b.want(b.ask("a", signedBy(t, b.a)), KeysUnavailable)
		writeFile(t, b.file, setOf(b.a))
		time.Sleep(2 * time.Second)
		b.want(b.ask("a", signedBy(t, b.a)), "")
		writeFile(t, b.file, setOf(b.a, b.b))
		b.want(b.ask("b", signedBy(t, b.b)), "")
		b.want(b.ask("c", never), UnknownKey)
	})
}

// Looks at files do not queue behind slow issuers.
func TestKeyFilesDoNotWaitForSlowIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFileBench(t, KeysConfig{})
		slow := &fakeIssuer{set: mustSet(t, b.a), life: time.Second}
		for i := range maxBackground {
			b.store.addSource(issuerKeysConfig{name: fmt.Sprint("slow", i)}, slow.fetch)
		}
		writeFile(t, b.file, setOf(b.a))
		stop := b.running()
		defer stop()
		slow.change(func() { slow.hold = make(chan struct{}) })
		time.Sleep(5 * time.Second)
		writeFile(t, b.file, setOf(b.b))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := b.keys.snap.Load().set.byKID["b"]; !ok {
			t.Error("the file was not looked at")
		}
	})
}

func TestKeyFileIsTheOnlySource(t *testing.T) {
	for name, change := range map[string]func(*IssuerConfig){
		"JWKSURL":      func(c *IssuerConfig) { c.JWKSURL = "https://id.example.com/keys" },
		"DiscoveryURL": func(c *IssuerConfig) { c.DiscoveryURL = "https://id.example.com/meta" },
		"SnapshotFile": func(c *IssuerConfig) { c.Keys.SnapshotFile = "/tmp/other" },
	} {
		ic := IssuerConfig{Issuer: "any text", Name: "test", AnyAudience: true, JWKSFile: "keys.json"}
		change(&ic)
		if _, err := NewValidator(Config{Issuers: []IssuerConfig{ic}}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("with %s: %v", name, err)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	err := IssuerConfig{JWKSFile: missing, Keys: KeysConfig{SnapshotFile: missing}, HTTP: HTTPConfig{CAFile: missing}}.CheckFiles()
	want := "CA file " + missing + ": there is no such file: put it there, or correct the path\n" +
		"key set file " + missing + ": there is no such file: put it there, or correct the path"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := (IssuerConfig{}).CheckFiles(); err != nil {
		t.Error(err)
	}
}

// A look at a file is no business of the context's: it takes no time.
func TestLookAtAKeyFile(t *testing.T) {
	_, jwk := ecJWK(t, "a", elliptic.P256())
	s, err := newFileSource(issuerKeysConfig{jwksFile: writeFile(t, filepath.Join(t.TempDir(), "keys.json"), setOf(jwk))}, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.fetch(context.Background(), true)
	if err != nil || len(got.set.keys) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
