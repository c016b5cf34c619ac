package extauthz

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Duration is a length of time that is written as in Go: 150ms, 30s, 1h30m. It
// converts to and from [time.Duration].
type Duration time.Duration

// String returns d without the zero units that time.Duration writes: 10m, not
// 10m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}

// MarshalText writes d as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%s is not a duration: write a number and a unit, such as 150ms, 30s or 1h", quote(string(text)))
	}
	*d = Duration(parsed)
	return nil
}

// unmarshalNumber takes the one bare number that needs no unit.
func (d *Duration) unmarshalNumber(text string) error {
	if text == "0" {
		*d = 0
		return nil
	}
	if isDecimal(text) {
		return fmt.Errorf("is a number without a unit: write %ss, or another unit (ms, m, h)", text)
	}
	return errors.New("is a number: write a duration with a unit, such as 150ms, 30s or 1h")
}
