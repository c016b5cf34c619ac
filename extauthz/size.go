package extauthz

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. It is written as a plain number, or with one of the
// units KiB, MiB and GiB.
type Size int64

// sizeUnits from large to small.
var sizeUnits = []struct {
	name  string
	bytes Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// String returns s in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s >= u.bytes && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes s as String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a number of bytes, or one with a unit.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := string(text), Size(1)
	for _, u := range sizeUnits {
		if digits, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = digits, u.bytes
			break
		}
	}
	if !isDecimal(number) {
		return fmt.Errorf("%s is not a size: write bytes, or a whole number with KiB, MiB or GiB, such as 64KiB", quote(string(text)))
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return fmt.Errorf("%s is too large", quote(string(text)))
	}
	*s = Size(n) * unit
	return nil
}

// unmarshalNumber takes bytes that are written as a number.
func (s *Size) unmarshalNumber(text string) error {
	if strings.HasPrefix(text, "-") {
		return errors.New("must not be negative: 0 turns the cache off")
	}
	return s.UnmarshalText([]byte(text))
}

// isDecimal reports whether s is digits only, without a leading zero that YAML
// 1.1 would read as octal.
func isDecimal(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s == "0" || s != "" && s[0] != '0'
}
