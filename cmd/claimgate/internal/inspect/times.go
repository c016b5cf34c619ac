package inspect

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Times are the NumericDates of a token (RFC 7519 section 2), zero if they are
// absent.
type Times struct {
	Issued    time.Time // iat
	NotBefore time.Time // nbf
	Expires   time.Time // exp
}

// Lifetime is from the first of iat and nbf that is there to exp, zero if one is
// missing.
func (t Times) Lifetime() time.Duration {
	from := t.Issued
	if from.IsZero() {
		from = t.NotBefore
	}
	if from.IsZero() || t.Expires.IsZero() {
		return 0
	}
	return t.Expires.Sub(from)
}

// milliseconds since 1970 are at least this much by now; as seconds it is the year
// 5138.
const milliseconds = 1e11

// readTimes reads what can be read, and says what is wrong with the first that
// cannot.
func readTimes(c map[string]json.RawMessage) (t Times, fault *Fault) {
	for _, field := range []struct {
		name string
		to   *time.Time
	}{{"iat", &t.Issued}, {"nbf", &t.NotBefore}, {"exp", &t.Expires}} {
		raw, ok := c[field.name]
		if !ok || string(raw) == "null" {
			continue
		}
		bad := &Fault{What: field.name + " is not a time", Likely: "times are numbers: seconds since 1970 (RFC 7519 section 2)"}
		f, err := strconv.ParseFloat(string(raw), 64)
		switch {
		case err == nil && f >= 0 && f < milliseconds:
			whole, fraction := math.Modf(f)
			*field.to = time.Unix(int64(whole), int64(fraction*1e9))
			continue
		case err == nil && f > 0:
			bad.Likely = "milliseconds, in place of the seconds of RFC 7519 section 2?"
		}
		if fault == nil {
			fault = bad
		}
	}
	return t, fault
}

// Words says how far a time is from now: "3 minutes ago", "in 57 minutes".
func Words(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d > -time.Second && d < time.Second:
		return "now"
	case d < 0:
		return Span(-d) + " ago"
	default:
		return "in " + Span(d)
	}
}

// Span says how long a time is, in the largest unit of which there are two, or one
// that fits exactly.
func Span(d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if d == unit.d {
			return "1 " + unit.name
		}
		if d >= 2*unit.d {
			return fmt.Sprintf("%d %ss", d/unit.d, unit.name)
		}
	}
	if n := d / time.Second; n != 1 {
		return fmt.Sprintf("%d seconds", n)
	}
	return "1 second"
}
