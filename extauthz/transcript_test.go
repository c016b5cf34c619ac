package extauthz

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

var update = flag.Bool("update", false, "write what the product answers into the transcripts")

// A transcript is a configuration and a list of checks with their answers. See
// testdata/check/README.md for the format.

// TestTranscripts runs each check in both encodings of a CheckRequest, and holds
// every answer to the rules that all answers share.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	seen := map[oidc.Reason]string{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		ok := t.Run(name, func(t *testing.T) {
			for reason := range runTranscript(t, file) {
				seen[reason] = name
			}
		})
		if !ok && testing.Short() {
			return
		}
	}
	checkMirrored(t)
	// Reasons that later work brings, or that no request can cause.
	later := []oidc.Reason{
		oidc.Inactive, oidc.Revoked, oidc.IntrospectionUnavailable, oidc.InsufficientAuthentication,
		oidc.ProofInvalid, oidc.ProofReplayed, oidc.NonceRequired, oidc.BindingMismatch,
		oidc.Overloaded,
		oidc.Internal, // a fault of ours: TestAPanicIsADenial
	}
	for _, reason := range oidc.Reasons() {
		if _, ok := seen[reason]; ok == slices.Contains(later, reason) {
			t.Errorf("reason %s: in a transcript: %t (%s); expected to be: %t", reason, ok, seen[reason], !ok)
		}
	}
}

// script runs one transcript.
type script struct {
	t       *testing.T
	now     time.Time
	dir     string // where the configuration stands
	config  string
	issuers map[string]*oidctest.Issuer
	server  *server
	vars    map[string]string
	seen    map[oidc.Reason]bool
}

func runTranscript(t *testing.T, file string) map[oidc.Reason]bool {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.TrimSpace(string(archive.Comment))) == 0 {
		t.Errorf("%s says nowhere what it shows", file)
	}
	s := &script{t: t, dir: t.TempDir(), now: time.Unix(1_800_000_000, 0), issuers: map[string]*oidctest.Issuer{}, vars: map[string]string{}, seen: map[oidc.Reason]bool{}}
	for _, name := range []string{"shop", "partner"} {
		issuer := oidctest.NewIssuer(oidctest.WithClock(func() time.Time { return s.now }), oidctest.WithAudience("orders-api"),
			oidctest.WithAlgorithms("ES256", "EdDSA", "PS256"), oidctest.WithPath("/"+name))
		t.Cleanup(issuer.Close)
		s.issuers[name] = issuer
		s.vars[name] = issuer.URL
		s.vars[name+"-tenants"] = strings.TrimSuffix(issuer.URL, name) + "tenants"
	}
	changed := false
	for i, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "file "); ok {
			s.write(name, f.Data)
			continue
		}
		if f.Name == "config.yaml" {
			s.config = s.expand(string(f.Data))
			s.start()
			continue
		}
		got := s.step(f.Name, string(f.Data))
		if got == string(f.Data) {
			continue
		}
		if *update {
			archive.Files[i].Data = []byte(got)
			changed = true
			continue
		}
		t.Errorf("%s: %s:\n%s", file, f.Name, lineDiff(string(f.Data), got))
	}
	if changed {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil { //nolint:gosec // a test's golden file
			t.Fatal(err)
		}
	}
	return s.seen
}

// start makes a gate of the configuration, and ends the one before.
func (s *script) start() {
	if s.server != nil {
		s.server.gate.Close()
	}
	cfg, err := ParseConfig(filepath.Join(s.dir, "config.yaml"), []byte(s.config))
	if err != nil {
		s.t.Fatal(err)
	}
	bePatient(cfg)
	gate, err := NewGate(cfg, Options{Clock: func() time.Time { return s.now }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(gate.Close)
	s.server = &server{gate: gate}
}

func (s *script) expand(text string) string {
	// Longest first, so that $T1 is not taken for $T.
	names := make([]string, 0, len(s.vars))
	for name := range s.vars {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		text = strings.ReplaceAll(text, "$"+name, s.vars[name])
	}
	return text
}

// step runs one section and returns it as it should read.
func (s *script) step(name, text string) string {
	var out strings.Builder
	var request []string
	flush := func() {
		if request != nil {
			out.WriteString(s.check(name, request))
			request = nil
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "< "):
			continue // the answer is written anew
		case strings.HasPrefix(line, "> "):
			if !strings.HasPrefix(line, "> @") && !strings.Contains(line, ": ") && !strings.HasSuffix(line, ":") {
				flush()
			}
			request = append(request, line[2:])
			out.WriteString(line + "\n")
			continue
		}
		flush()
		out.WriteString(line + "\n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "token "):
			s.mint(strings.TrimPrefix(line, "token "))
		case strings.HasPrefix(line, "! "):
			s.event(strings.Fields(line[2:]))
		default:
			s.t.Fatalf("%s: what is %q?", name, line)
		}
	}
	flush()
	return out.String()
}

// mint reads NAME: ISSUER CLAIMS OPTION… and sets $NAME.
func (s *script) mint(line string) {
	name, rest, _ := strings.Cut(line, ": ")
	issuerName, rest, _ := strings.Cut(rest, " ")
	issuer := s.issuers[issuerName]
	if issuer == nil {
		s.t.Fatalf("token %s: no issuer %q", name, issuerName)
	}
	d := json.NewDecoder(strings.NewReader(rest))
	d.UseNumber()
	claims := map[string]any{}
	if err := d.Decode(&claims); err != nil && err != io.EOF {
		s.t.Fatalf("token %s: %v", name, err)
	}
	for claim, value := range claims {
		claims[claim] = s.value(value)
	}
	var opts []oidctest.TokenOption
	words, _ := io.ReadAll(d.Buffered())
	for _, word := range strings.Fields(string(words)) {
		option, value, _ := strings.Cut(word, "=")
		switch option {
		case "alg":
			opts = append(opts, oidctest.Alg(value))
		case "kid":
			opts = append(opts, oidctest.KeyID(value))
		case "nokid":
			opts = append(opts, oidctest.NoKeyID())
		case "forged":
			opts = append(opts, oidctest.Forged())
		case "unsigned":
			opts = append(opts, oidctest.Unsigned())
		case "signedby":
			opts = append(opts, oidctest.SignWith(s.issuers[value].SigningKey()))
		case "header":
			members := map[string]any{}
			if err := json.Unmarshal([]byte(value), &members); err != nil {
				s.t.Fatalf("token %s: %v", name, err)
			}
			for member, value := range members {
				opts = append(opts, oidctest.Header(member, s.value(value)))
			}
		case "fill": // NAME:COUNT:TEXT, a claim that would be too long to read
			parts := strings.SplitN(value, ":", 3)
			n, err := strconv.Atoi(parts[1])
			if err != nil {
				s.t.Fatalf("token %s: %v", name, err)
			}
			claims[parts[0]] = strings.Repeat(parts[2], n)
		case "rawclaims":
			raw, err := strconv.Unquote(value)
			if err != nil {
				s.t.Fatalf("token %s: rawclaims: %v", name, err)
			}
			opts = append(opts, oidctest.RawClaims([]byte(s.expand(raw))))
		default:
			s.t.Fatalf("token %s: what is %q?", name, word)
		}
	}
	s.vars[name] = issuer.Token(claims, opts...)
}

// value reads "now+5m" as a NumericDate and "(omit)" as nothing.
func (s *script) value(v any) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	if text == "(omit)" {
		return oidctest.Omit
	}
	if offset, ok := strings.CutPrefix(text, "now"); ok {
		d := time.Duration(0)
		if offset != "" {
			var err error
			if d, err = time.ParseDuration(offset); err != nil {
				return v
			}
		}
		return s.now.Add(d).Unix()
	}
	return s.expand(text)
}

func (s *script) event(words []string) {
	if words[0] == "advance" {
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(d)
		return
	}
	if words[0] == "restart" {
		s.start()
		return
	}
	issuer := s.issuers[words[0]]
	if issuer == nil {
		s.t.Fatalf("no issuer %q", words[0])
	}
	switch words[1] {
	case "rotates":
		issuer.Rotate()
	case "drops-old-keys":
		issuer.RemoveOldKeys()
	case "goes-down":
		issuer.Down()
	case "comes-up":
		issuer.Up()
	case "fails":
		issuer.Fail(500)
	case "lies":
		issuer.Lie("https://other.example")
	case "recovers":
		issuer.Recover()
	case "has-tenants": // NAME…: each is an issuer under /tenants, with the same keys
		base := strings.TrimSuffix(issuer.URL, "/"+words[0]) + "/tenants/"
		issuer.Respond(func(w http.ResponseWriter, r *http.Request) {
			name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/tenants/"), "/.well-known/openid-configuration")
			if !ok || !slices.Contains(words[2:], name) {
				http.NotFound(w, r)
				return
			}
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, base+name, issuer.URLOf(oidctest.JWKS))
		}, oidctest.Elsewhere)
	case "was-asked-in-all":
		want, _ := strconv.Atoi(words[2])
		if got := issuer.Requests(); got != want {
			s.t.Errorf("issuer %s was asked %d times, want %d", words[0], got, want)
		}
	case "writes-keys":
		s.write(words[2], keySetOf(s.t, issuer))
	case "publishes": // KID MEMBERS: the signing key once more, as another key of the set
		key := issuer.SigningKey().JWK()
		if err := json.Unmarshal([]byte(s.expand(strings.Join(words[3:], " "))), &key); err != nil {
			s.t.Fatal(err)
		}
		key["kid"] = words[2]
		text, err := json.Marshal(key)
		if err != nil {
			s.t.Fatal(err)
		}
		issuer.PublishRaw(string(text))
	case "was-asked":
		want, _ := strconv.Atoi(words[2])
		if got := issuer.Requests(oidctest.JWKS); got != want {
			s.t.Errorf("issuer %s was asked for keys %d times, want %d", words[0], got, want)
		}
	default:
		s.t.Fatalf("what is %q?", words)
	}
}

// write puts a file beside the configuration.
func (s *script) write(name string, data []byte) {
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// keySetOf returns the issuer's key set, which counts as asking for it.
func keySetOf(t *testing.T, issuer *oidctest.Issuer) []byte {
	resp, err := http.Get(issuer.URLOf(oidctest.JWKS))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// check sends the request in both encodings and renders the answer.
func (s *script) check(name string, lines []string) string {
	ctx := s.t.Context()
	asMap, asList := &authv3.AttributeContext_HttpRequest{Headers: map[string]string{}}, &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{}}
	attributes := &authv3.AttributeContext{Source: &authv3.AttributeContext_Peer{}}
	var credentials []string
	noHTTP, showMetadata := false, false
	for i, line := range lines {
		line = s.expand(line)
		if i == 0 {
			words := append(strings.Fields(line), "", "api.example.com")
			if words[2] == "" { // no host given
				words[2] = "api.example.com"
			}
			for _, h := range []*authv3.AttributeContext_HttpRequest{asMap, asList} {
				h.Method, h.Path, h.Host, h.Scheme = words[0], words[1], words[2], "https"
				if words[1] == "(none)" {
					h.Path = ""
				}
			}
			continue
		}
		if directive, ok := strings.CutPrefix(line, "@"); ok {
			word, value, _ := strings.Cut(directive, " ")
			switch word {
			case "context":
				key, value, _ := strings.Cut(value, "=")
				attributes.ContextExtensions = map[string]string{key: value}
			case "route":
				kind, rest, _ := strings.Cut(value, "/")
				namespace, name, _ := strings.Cut(rest, "/")
				attributes.RouteMetadataContext = routeMetadata(s.t, fmt.Sprintf(`{"envoy-gateway": {"resources": [{"kind": %q, "namespace": %q, "name": %q}]}}`, kind, namespace, name))
			case "route-metadata":
				attributes.RouteMetadataContext = routeMetadata(s.t, value)
			case "principal":
				attributes.Source.Principal = value
			case "no-http":
				noHTTP = true
			case "metadata":
				showMetadata = true
			case "deadline":
				d, err := time.ParseDuration(value)
				if err != nil {
					s.t.Fatal(err)
				}
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, d)
				defer cancel()
			default:
				s.t.Fatalf("%s: what is @%s?", name, word)
			}
			continue
		}
		header, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		if unquoted, err := strconv.Unquote(value); err == nil && strings.HasPrefix(value, `"\x`) {
			value = unquoted // for bytes that no file shows
		}
		if old, ok := asMap.Headers[header]; ok {
			asMap.Headers[header] = old + "," + value
		} else {
			asMap.Headers[header] = value
		}
		asList.HeaderMap.Headers = append(asList.HeaderMap.Headers, &corev3.HeaderValue{Key: header, RawValue: []byte(value)})
		for v := range s.vars {
			if len(s.vars[v]) > 100 && strings.Contains(line, s.vars[v]) {
				credentials = append(credentials, s.vars[v])
			}
		}
	}
	var answers []string
	for _, http := range []*authv3.AttributeContext_HttpRequest{asMap, asList} {
		attributes.Request = &authv3.AttributeContext_Request{Http: http}
		if noHTTP {
			attributes.Request = nil
		}
		req := roundTrip(s.t, &authv3.CheckRequest{Attributes: attributes})
		resp, err := s.server.Check(ctx, req)
		if err != nil {
			s.t.Fatalf("%s: the call failed: %v", name, err)
		}
		s.compareWire(ctx, name, req, resp)
		if !noHTTP && http == asList {
			s.compareMiddleware(ctx, name, asList, resp)
		}
		checkInvariants(s.t, resp)
		if !strings.Contains(resp.String(), "@token") {
			for _, c := range credentials {
				if resp.GetDeniedResponse() != nil && strings.Contains(resp.String(), c) {
					s.t.Errorf("%s: the denial repeats the token", name)
				}
			}
		}
		reason := resp.GetDynamicMetadata().GetFields()["reason"].GetStringValue()
		s.seen[oidc.Reason(reason)] = true
		answers = append(answers, s.stable(render(resp, showMetadata)))
	}
	if answers[0] != answers[1] {
		s.t.Errorf("%s: the answer depends on the encoding:\nheaders:\n%sheader_map:\n%s", name, answers[0], answers[1])
	}
	return answers[0]
}

// compareWire asks again the daemon's way. The answer must be the same, though
// the plain way came first: a check changes nothing that the next one sees, but
// for keys that have become known.
func (s *script) compareWire(ctx context.Context, name string, req *authv3.CheckRequest, plain *authv3.CheckResponse) {
	wire, err := proto.Marshal(req)
	if err != nil {
		s.t.Fatal(err)
	}
	sortRemovals(plain)
	for range 2 { // the second answer may be one that was prepared
		short := &authv3.CheckResponse{}
		if err := proto.Unmarshal(s.server.checkWire(ctx, wire), short); err != nil {
			s.t.Fatal(err)
		}
		sortRemovals(short)
		if !proto.Equal(plain, short) {
			s.t.Errorf("%s: the plain answer is\n%v\nthe daemon's\n%v", name, plain, short)
		}
	}
}

// stable names what differs from run to run.
func (s *script) stable(answer string) string {
	for name, issuer := range s.issuers {
		answer = strings.ReplaceAll(answer, issuer.URL, "$"+name)
	}
	return answer
}

func roundTrip(t *testing.T, req *authv3.CheckRequest) *authv3.CheckRequest {
	t.Helper()
	wire, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	out := &authv3.CheckRequest{}
	if err := proto.Unmarshal(wire, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// render writes an answer as a transcript shows it.
func render(resp *authv3.CheckResponse, showMetadata bool) string {
	var b strings.Builder
	fields := resp.GetDynamicMetadata().GetFields()
	status := 200
	if denied := resp.GetDeniedResponse(); denied != nil {
		status = int(denied.GetStatus().GetCode())
	}
	fmt.Fprintf(&b, "< %d %s", status, fields["reason"].GetStringValue())
	for _, key := range []string{"policy", "issuer"} {
		if v := fields[key].GetStringValue(); v != "" {
			fmt.Fprintf(&b, " %s=%s", key, v)
		}
	}
	b.WriteString("\n")
	for _, h := range resp.GetOkResponse().GetHeaders() {
		value := h.GetHeader().GetValue()
		if len(value) > 400 {
			value = fmt.Sprintf("%s… (%d bytes)", value[:40], len(value))
		}
		fmt.Fprintf(&b, "< set %s: %s\n", h.GetHeader().GetKey(), value)
	}
	if remove := slices.Sorted(slices.Values(resp.GetOkResponse().GetHeadersToRemove())); len(remove) > 0 {
		fmt.Fprintf(&b, "< remove %s\n", strings.Join(remove, " "))
	}
	for _, h := range resp.GetDeniedResponse().GetHeaders() {
		if key := h.GetHeader().GetKey(); key != "content-type" && key != "cache-control" {
			fmt.Fprintf(&b, "< %s: %s\n", key, h.GetHeader().GetValue())
		}
	}
	if body := resp.GetDeniedResponse().GetBody(); body != "" {
		fmt.Fprintf(&b, "< %s\n", body)
	}
	if showMetadata {
		text, _ := json.Marshal(resp.GetDynamicMetadata().AsMap())
		fmt.Fprintf(&b, "< metadata %s\n", text)
	}
	return b.String()
}

// checkInvariants holds an answer to what every answer promises.
func checkInvariants(t *testing.T, resp *authv3.CheckResponse) {
	t.Helper()
	if _, err := proto.Marshal(resp); err != nil {
		t.Errorf("the answer cannot be sent: %v", err)
	}
	code := resp.GetStatus().GetCode()
	ok, denied := resp.GetOkResponse(), resp.GetDeniedResponse()
	if resp.GetErrorResponse() != nil || (code == 0) != (ok != nil) || (code == 0) == (denied != nil) || code != 0 && code != 7 && code != 16 {
		t.Errorf("status %d does not agree with the response", code)
	}
	if denied != nil && (code == 16) != (denied.GetStatus().GetCode() == 401) {
		t.Errorf("status %d with HTTP %d", code, denied.GetStatus().GetCode())
	}
	for _, h := range append(slices.Clone(ok.GetHeaders()), denied.GetHeaders()...) {
		if h.GetAppend() == nil || h.GetAppend().GetValue() || h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("header %s does not overwrite in both ways", h.GetHeader().GetKey())
		}
		value := h.GetHeader().GetValue()
		if value == "" || strings.ToLower(h.GetHeader().GetKey()) != h.GetHeader().GetKey() {
			t.Errorf("header %s: %q is empty, or its name has capitals", h.GetHeader().GetKey(), value)
		}
		for i := range len(value) {
			if value[i] < 0x20 || value[i] > 0x7e {
				t.Errorf("header %s has the byte %#x", h.GetHeader().GetKey(), value[i])
			}
		}
		if slices.Contains(ok.GetHeadersToRemove(), h.GetHeader().GetKey()) {
			t.Errorf("header %s is both set and removed", h.GetHeader().GetKey())
		}
	}
	for _, key := range []string{"reason", "policy"} {
		if resp.GetDynamicMetadata().GetFields()[key] == nil {
			t.Errorf("the metadata lacks %s", key)
		}
	}
	if ok != nil {
		for _, name := range []string{"x-auth-issuer", "x-auth-subject", "x-auth-client", "x-auth-scopes"} {
			isSet := slices.ContainsFunc(ok.GetHeaders(), func(h *corev3.HeaderValueOption) bool { return h.GetHeader().GetKey() == name })
			if isSet == slices.Contains(ok.GetHeadersToRemove(), name) {
				t.Errorf("identity header %s is neither set nor removed, or both", name)
			}
		}
		return
	}
	headers := map[string]string{}
	for _, h := range denied.GetHeaders() {
		headers[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	if headers["cache-control"] != "no-store" || headers["content-type"] == "" || len(denied.GetBody()) > 256 {
		t.Errorf("a denial with headers %v and a body of %d bytes", headers, len(denied.GetBody()))
	}
	if headers["content-type"] == "application/json" && !json.Valid([]byte(denied.GetBody())) {
		t.Errorf("body %s is no JSON", denied.GetBody())
	}
}

func lineDiff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		var wl, gl string
		if i < len(w) {
			wl = w[i]
		}
		if i < len(g) {
			gl = g[i]
		}
		if wl != gl {
			fmt.Fprintf(&b, "  want %s\n  got  %s\n", wl, gl)
		}
	}
	return b.String()
}
