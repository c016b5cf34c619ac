package inspect

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// unwrap takes away what people paste with a token, and says what it was.
func unwrap(s string) (token string, notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if strings.HasPrefix(s, "\ufeff") {
		s = strings.TrimPrefix(s, "\ufeff")
		note("there was a byte order mark before it, as some editors write: a gate would not take it off")
	}
	s = strings.TrimSpace(s)
	unquote := func() {
		for _, q := range []string{`"`, `'`, "`"} {
			if len(s) >= 2 && strings.HasPrefix(s, q) && strings.HasSuffix(s, q) {
				s = strings.TrimSpace(s[1 : len(s)-1])
				note("it stood in quotes (%s): in a header they would be a part of it", q)
				return
			}
		}
	}
	unquote()
	for _, prefix := range []string{"Authorization:", "Bearer ", "DPoP "} {
		if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
			s = strings.TrimSpace(s[len(prefix):])
			note("%q stood before it: that belongs to the header, not to the token", strings.TrimSpace(prefix))
		}
	}
	unquote()
	// A token that was wrapped for display has its line breaks between letters that
	// are its own.
	if joined := strings.Map(dropSpace, s); strings.Contains(s, "\n") && looksLikeJOSE(s) && onlyTokenLetters(joined) {
		note("there were %d line breaks or spaces inside, as from a terminal or a mail: in a header they would break it", len([]rune(s))-len([]rune(joined)))
		s = joined
	}
	return s, notes
}

func dropSpace(r rune) rune {
	if unicode.IsSpace(r) {
		return -1
	}
	return r
}

func onlyTokenLetters(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// foreign recognises what people give in place of a token.
func foreign(s string) *Fault {
	switch {
	case s == "":
		return &Fault{What: "there is nothing", Likely: "a variable that is not set, or a command before the pipe that failed"}
	case strings.EqualFold(s, "Bearer"), strings.EqualFold(s, "Authorization:"):
		return &Fault{What: fmt.Sprintf("the word %q and no token", s), Likely: "a variable that is not set, or a command before the pipe that failed"}
	case strings.HasPrefix(s, "-----BEGIN"):
		return &Fault{What: "a PEM file, no token", Likely: "a key or a certificate: keep private keys away from command lines"}
	case strings.HasPrefix(s, "<"):
		return &Fault{What: "a web page, no token", Likely: "the answer of a login or error page: look at the request that should have brought a token"}
	case strings.HasPrefix(s, "{"):
		var answer map[string]json.RawMessage
		if json.Unmarshal([]byte(s), &answer) != nil {
			return &Fault{What: "it begins as JSON does, and is neither JSON nor a token"}
		}
		for _, name := range []string{"access_token", "id_token"} {
			if _, ok := answer[name]; ok {
				return &Fault{What: "the whole answer of a token endpoint", Likely: fmt.Sprintf("give the value of %s alone: jq -r .%s", name, name)}
			}
		}
		if code := text(answer, "error"); code != "" {
			return &Fault{What: fmt.Sprintf("the answer of a token endpoint that gave no token: error %q", code), Likely: "look at the request that should have brought a token"}
		}
		if text(answer, "payload") != "" {
			return &Fault{What: "a JWS or JWE in its JSON form (RFC 7515 section 7.2)", Likely: "bearer tokens have the compact form, with dots"}
		}
		return &Fault{What: "JSON, no token", Likely: "claims that were decoded already? Give the token as it goes into the header"}
	case len(s) > len("Basic ") && strings.EqualFold(s[:len("Basic ")], "Basic "):
		return &Fault{What: "the credential of HTTP Basic authentication, no token", Likely: "it holds a password: keep it away from command lines"}
	}
	return nil
}
