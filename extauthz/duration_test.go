package extauthz

import (
	"math"
	"testing"
	"time"
)

func TestDurationText(t *testing.T) {
	for _, test := range []struct {
		in   string
		want time.Duration
		text string
	}{
		{"30s", 30 * time.Second, "30s"},
		{"1h", time.Hour, "1h"},
		{"10m", 10 * time.Minute, "10m"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"90s", 90 * time.Second, "1m30s"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"150ms", 150 * time.Millisecond, "150ms"},
		{"1.5s", 1500 * time.Millisecond, "1.5s"},
		{"0", 0, "0s"},
		{"-1m", -time.Minute, "-1m"},
		{"100s", 100 * time.Second, "1m40s"},
		{"20h", 20 * time.Hour, "20h"},
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(test.in)); err != nil || time.Duration(d) != test.want {
			t.Errorf("%s is %v, %v; want %v", test.in, time.Duration(d), err, test.want)
		}
		if got := d.String(); got != test.text {
			t.Errorf("%s is written %s, want %s", test.in, got, test.text)
		}
	}
	for _, in := range []string{"", "1", "s", "1d", "5 s", "99999999h", "1h-1m"} {
		var d Duration
		if d.UnmarshalText([]byte(in)) == nil {
			t.Errorf("%q is the duration %v", in, d)
		}
	}
}

func TestSizeText(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Size
		text string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"65536", 64 << 10, "64KiB"},
		{"64KiB", 64 << 10, "64KiB"},
		{"1024KiB", 1 << 20, "1MiB"},
		{"1500KiB", 1500 << 10, "1500KiB"},
		{"128MiB", 128 << 20, "128MiB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	} {
		var s Size
		if err := s.UnmarshalText([]byte(test.in)); err != nil || s != test.want {
			t.Errorf("%s is %d, %v; want %d", test.in, s, err, test.want)
		}
		if got := s.String(); got != test.text {
			t.Errorf("%s is written %s, want %s", test.in, got, test.text)
		}
	}
	for _, in := range []string{"", "KiB", "-1", "1.5KiB", "64 KiB", "64K", "64kib", "010", "0x10", "9223372036854775808", "9007199254740992GiB"} {
		var s Size
		if s.UnmarshalText([]byte(in)) == nil {
			t.Errorf("%q is the size %d", in, s)
		}
	}
}
