package oidc

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// lines is a log to which goroutines write.
type lines struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// life is one life of a validator between two restarts.
func life(t *testing.T, clock *testClock, ic IssuerConfig, use func(*Validator)) (log string) {
	t.Helper()
	var l lines
	v, err := NewValidator(Config{Issuers: []IssuerConfig{ic}, Clock: clock.now, Logger: slog.New(slog.NewTextHandler(&l, nil))})
	if err != nil {
		t.Fatal(err)
	}
	use(v)
	v.Close()
	return l.String()
}

func wantReason(t *testing.T, v *Validator, token string, want Reason) {
	t.Helper()
	_, err := v.Validate(t.Context(), token, Requirement{})
	var e *Error
	got := Reason("")
	if errors.As(err, &e) {
		got = e.Reason
	}
	if got != want || (err == nil) != (want == "") {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func TestRestartDuringAnOutageDecidesAsBeforeIt(t *testing.T) {
	clock := newTestClock()
	is := oidctest.NewIssuer(oidctest.WithClock(clock.now))
	defer is.Close()
	file := filepath.Join(t.TempDir(), "snapshot")
	ic := IssuerConfig{Issuer: is.URL, Name: "test", Audiences: []string{"api"}, Keys: KeysConfig{MaxStale: 2 * time.Hour, SnapshotFile: file}}

	life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), "") })
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("the snapshot: %v, %v", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("beside the snapshot: %v, %v", left, err)
	}

	is.Down()
	clock.advance(2*time.Hour - time.Minute)
	log := life(t, clock, ic, func(v *Validator) {
		wantReason(t, v, is.Token(nil), "")
		wantReason(t, v, is.Token(nil, oidctest.Forged()), BadSignature)
		s := v.Status()[0]
		if !s.Usable || !s.Stale || s.UsableKeys != 1 || !s.LastSuccess.Equal(clock.now().Add(-2*time.Hour+time.Minute)) {
			t.Errorf("status %+v", s)
		}
		clock.advance(time.Minute) // the snapshot does not make keys younger than they are
		wantReason(t, v, is.Token(nil), KeysUnavailable)
	})
	if !strings.Contains(log, "the keys of the snapshot are used") {
		t.Errorf("log %s", log)
	}
	log = life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), KeysUnavailable) })
	if !strings.Contains(log, "too old to be used") {
		t.Errorf("log %s", log)
	}

	is.Up()
	clock.advance(time.Hour)
	life(t, clock, ic, func(v *Validator) {
		wantReason(t, v, is.Token(nil), "")
		if s := v.Status()[0]; s.Stale || !s.LastSuccess.Equal(clock.now()) {
			t.Errorf("status %+v", s)
		}
	})
}

// A key that the snapshot lacks is asked of the issuer like any other.
func TestKeyThatIsNotInTheSnapshotIsFetched(t *testing.T) {
	clock := newTestClock()
	is := oidctest.NewIssuer(oidctest.WithClock(clock.now))
	defer is.Close()
	ic := IssuerConfig{Issuer: is.URL, Name: "test", Audiences: []string{"api"}, Keys: KeysConfig{SnapshotFile: filepath.Join(t.TempDir(), "snapshot")}}
	life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), "") })
	is.Rotate()
	is.RemoveOldKeys()
	life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), "") })
	is.Down()
	life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), "") })
}

// If only discovery is down, keys are fetched from where they were.
func TestSnapshotKnowsWhereTheKeysWere(t *testing.T) {
	clock := newTestClock()
	is := oidctest.NewIssuer(oidctest.WithClock(clock.now))
	defer is.Close()
	ic := IssuerConfig{Issuer: is.URL, Name: "test", Audiences: []string{"api"}, Keys: KeysConfig{SnapshotFile: filepath.Join(t.TempDir(), "snapshot")}}
	life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), "") })
	is.Fail(500, oidctest.OpenIDDiscovery, oidctest.OAuthDiscovery)
	is.Rotate()
	life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), "") })
}

// Run restores before it fetches, and requests that come meanwhile do not wait
// for the fetch.
func TestRunRestoresFirst(t *testing.T) {
	clock := newTestClock()
	is := oidctest.NewIssuer(oidctest.WithClock(clock.now))
	defer is.Close()
	ic := IssuerConfig{Issuer: is.URL, Name: "test", Audiences: []string{"api"}, Keys: KeysConfig{SnapshotFile: filepath.Join(t.TempDir(), "snapshot")}}
	life(t, clock, ic, func(v *Validator) { wantReason(t, v, is.Token(nil), "") })
	hang := is.Hang()
	life(t, clock, ic, func(v *Validator) {
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { _ = v.Run(ctx) })
		<-hang.Reached()
		wantReason(t, v, is.Token(nil), "")
		cancel()
		run.Wait()
	})
}

func TestSnapshotsThatAreNotUsed(t *testing.T) {
	clock := newTestClock()
	_, jwk := ecJWK(t, "a", elliptic.P256())
	now := clock.now()
	good := snapshot{
		issuer: "https://id.example.com", metadataURL: "https://id.example.com/.well-known/openid-configuration",
		keysURL: "https://id.example.com/keys", fetchedAt: now, keySet: []byte(setOf(jwk)),
	}
	with := func(change func(*snapshot)) string {
		s := good
		change(&s)
		data, err := s.marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, tt := range []struct{ name, content, want string }{
		{"as written", with(func(*snapshot) {}), ""},
		{"a little from the future", with(func(s *snapshot) { s.fetchedAt = now.Add(maxSnapshotSkew) }), ""},
		{"keys elsewhere", with(func(s *snapshot) { s.keysURL = "https://keys.example.com/keys" }), ""},
		{"the other form", with(func(s *snapshot) { s.metadataURL = "https://id.example.com/.well-known/oauth-authorization-server" }), ""},
		{"another issuer", with(func(s *snapshot) { s.issuer += "/" }), "is of another issuer"},
		{"configured key set URL", with(func(s *snapshot) { s.metadataURL = "" }), "is of another discovery URL"},
		{"another discovery URL", with(func(s *snapshot) { s.metadataURL += "2" }), "is of another discovery URL"},
		{"plain http keys", with(func(s *snapshot) { s.keysURL = "http://127.0.0.1/keys" }), "is of a key set URL that the rules forbid"},
		{"too old", with(func(s *snapshot) { s.fetchedAt = now.Add(-24 * time.Hour) }), "is from 2026-05-03T12:00:00Z, too old to be used"},
		{"from the future", with(func(s *snapshot) { s.fetchedAt = now.Add(maxSnapshotSkew + 1) }), "is from 2026-05-04T12:01:00Z, which is yet to come: look at this machine's clock"},
		{"no keys", with(func(s *snapshot) { s.keySet = []byte(`{"keys":[]}`) }), "no keys"},
		{"cut off", with(func(s *snapshot) { s.keySet = s.keySet[:len(s.keySet)-1] }), `not a JSON object with an array "keys"`},
		{"too many keys", with(func(s *snapshot) { s.keySet = []byte(setOf(make129(jwk)...)) }), "more than 128 keys"},
		{"too large a set", with(func(s *snapshot) { s.keySet = []byte(strings.Repeat(" ", maxDocumentSize+1)) }), "is no snapshot of keys"},
		{"empty", "", "is no snapshot of keys"},
		{"one line", strings.ReplaceAll(with(func(*snapshot) {}), "\n", " "), "is no snapshot of keys"},
		{"a bare key set", setOf(jwk) + "\n" + setOf(jwk), "is of another version"},
		{"no JSON", "private\n" + setOf(jwk), "is no snapshot of keys"},
		{"no object", "[]\n" + setOf(jwk), "is no snapshot of keys"},
		{"two issuers", strings.Replace(with(func(*snapshot) {}), "{", `{"issuer":"https://id.example.com",`, 1), "is no snapshot of keys"},
		{"another version", strings.Replace(with(func(*snapshot) {}), `"version":"1"`, `"version":"2"`, 1), "is of another version"},
		{"no time", strings.Replace(with(func(*snapshot) {}), `fetched_at`, `x`, 1), "is no snapshot of keys: it has no time"},
		{"a long first line", strings.Repeat(" ", maxSnapshotHeader) + with(func(*snapshot) {}), "is no snapshot of keys"},
		{"huge", strings.Repeat("x", maxSnapshotHeader+maxDocumentSize+1), "is over 1040 KiB: it is probably another file than was meant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := writeFile(t, filepath.Join(t.TempDir(), "snapshot"), tt.content)
			s, _ := sourceFor(t, issuerKeysConfig{issuer: good.issuer}, clock.now)
			got, at, err := (&snapshotFile{path: file, maxStale: 24 * time.Hour, source: s}).load(now)
			if tt.want == "" {
				if err != nil || len(got.set.keys) != 1 || at.After(now) || s.found == nil {
					t.Errorf("%+v, %s, %v", got, at, err)
				}
				return
			}
			if want := "snapshot file " + file + ": " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if got.set != nil || s.found != nil {
				t.Error("something of it is used")
			}
		})
	}
}

func TestSnapshotOfAConfiguredKeySetURL(t *testing.T) {
	now := newTestClock().now()
	_, jwk := ecJWK(t, "a", elliptic.P256())
	for _, tt := range []struct {
		keysURL, metadataURL string
		want                 bool
	}{
		{"https://id.example.com/keys", "", true},
		{"https://id.example.com/keys2", "", false},
		{"https://id.example.com/keys", "https://id.example.com/.well-known/openid-configuration", false},
	} {
		data, err := snapshot{issuer: "x", metadataURL: tt.metadataURL, keysURL: tt.keysURL, fetchedAt: now, keySet: []byte(setOf(jwk))}.marshal()
		if err != nil {
			t.Fatal(err)
		}
		file := writeFile(t, filepath.Join(t.TempDir(), "snapshot"), string(data))
		s, _ := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://id.example.com/keys"}, time.Now)
		_, _, err = (&snapshotFile{path: file, maxStale: time.Hour, source: s}).load(now)
		if (err == nil) != tt.want {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestSnapshotThatEverybodyCanWriteIsNotUsed(t *testing.T) {
	file := writeFile(t, filepath.Join(t.TempDir(), "snapshot"), "x")
	if err := os.Chmod(file, 0o606); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	_, _, err := (&snapshotFile{path: file}).load(time.Now())
	if err == nil || !strings.Contains(err.Error(), "everybody may write it") {
		t.Errorf("error %v", err)
	}
}

// awaitSnapshot waits until the writer has nothing to do.
func awaitSnapshot(v *Validator) {
	for k := v.issuers[0].keys; ; runtime.Gosched() {
		k.mu.Lock()
		busy := k.saving || k.toSave != nil
		k.mu.Unlock()
		if !busy {
			return
		}
	}
}

// A snapshot that cannot be written is one line, and nothing else.
func TestSnapshotThatCannotBeWritten(t *testing.T) {
	clock := newTestClock()
	is := oidctest.NewIssuer(oidctest.WithClock(clock.now))
	defer is.Close()
	dir := filepath.Join(t.TempDir(), "later")
	ic := IssuerConfig{Issuer: is.URL, Name: "test", Audiences: []string{"api"}, Keys: KeysConfig{SnapshotFile: filepath.Join(dir, "snapshot")}}
	log := life(t, clock, ic, func(v *Validator) {
		for range 3 {
			wantReason(t, v, is.Token(nil), "")
			awaitSnapshot(v)
			is.Rotate()
			clock.advance(time.Minute)
		}
		is.Down() // no more fetches
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		is.Up()
		wantReason(t, v, is.Token(nil), "")
	})
	if n := strings.Count(log, "could not be written"); n != 1 || !strings.Contains(log, "no such file or directory") {
		t.Errorf("%d lines in\n%s", n, log)
	}
	if !strings.Contains(log, "is written again") {
		t.Errorf("log\n%s", log)
	}
}

func TestSnapshotIsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	f := &snapshotFile{path: filepath.Join(dir, "taken")}
	if err := os.Mkdir(f.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.save(snapshot{}); err == nil || !strings.Contains(err.Error(), "snapshot file "+f.path+": cannot be written: ") {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	old := writeFile(t, filepath.Join(dir, "old"), "old")
	f.path = old
	if err := f.save(snapshot{issuer: "x", keySet: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(old)
	if want := `{"version":"1","issuer":"x","metadata_url":"","jwks_url":"","fetched_at":"0001-01-01T00:00:00Z"}` + "\nnew"; err != nil || string(data) != want {
		t.Errorf("%s, %v; want %s", data, err, want)
	}
}

func TestSnapshotFileIsForOneIssuer(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, tt := range []struct {
		one, other IssuerConfig
		ok         bool
	}{
		{IssuerConfig{Keys: KeysConfig{SnapshotFile: "a"}}, IssuerConfig{Keys: KeysConfig{SnapshotFile: "b"}}, true},
		{IssuerConfig{HTTP: HTTPConfig{CAFile: "a"}}, IssuerConfig{HTTP: HTTPConfig{CAFile: "a"}}, true},
		{IssuerConfig{Keys: KeysConfig{SnapshotFile: "a"}}, IssuerConfig{Keys: KeysConfig{SnapshotFile: "a"}}, false},
		{IssuerConfig{Keys: KeysConfig{SnapshotFile: "x/../a"}}, IssuerConfig{Keys: KeysConfig{SnapshotFile: dir + "/./a"}}, false},
		{IssuerConfig{Keys: KeysConfig{SnapshotFile: "a"}}, IssuerConfig{JWKSFile: "a"}, false},
		{IssuerConfig{Keys: KeysConfig{SnapshotFile: "a"}}, IssuerConfig{HTTP: HTTPConfig{BearerTokenFile: "a"}}, false},
		{IssuerConfig{Keys: KeysConfig{SnapshotFile: "a"}, HTTP: HTTPConfig{CAFile: "a"}}, IssuerConfig{}, false},
	} {
		list := []IssuerConfig{tt.one, tt.other}
		for i := range list {
			list[i].Issuer, list[i].Name, list[i].AnyAudience = fmt.Sprint("https://", i, ".example.com"), fmt.Sprint(i), true
		}
		v, err := NewValidator(Config{Issuers: list})
		if (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), "Keys.SnapshotFile is named for something else too") {
			t.Errorf("%+v: %v", list, err)
		}
		if err == nil {
			v.Close()
		}
	}
}

// A snapshot is anybody's file: whatever it holds, it is refused or gives keys
// that the strict parser took.
func FuzzSnapshot(f *testing.F) {
	_, jwk := ecJWK(f, "a", elliptic.P256())
	data, err := snapshot{issuer: "x", keysURL: "https://id.example.com/keys", keySet: []byte(setOf(jwk))}.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("{}\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSnapshot(data)
		if err != nil {
			return
		}
		again, err := s.marshal()
		if err != nil {
			return // a year that RFC 3339 does not have
		}
		back, err := parseSnapshot(again)
		if err != nil || back.issuer != s.issuer || back.keysURL != s.keysURL || !back.fetchedAt.Equal(s.fetchedAt) || string(back.keySet) != string(s.keySet) {
			t.Errorf("%+v is read back as %+v, %v", s, back, err)
		}
	})
}
