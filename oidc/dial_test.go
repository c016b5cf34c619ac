package oidc

import (
	"errors"
	"net/netip"
	"testing"
)

func TestForbiddenAddresses(t *testing.T) {
	for _, addr := range []string{
		"169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1",
		"100.100.100.200", "168.63.129.16",
		"::", "fe80::1", "fe80::1%eth0", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
		"::ffff:169.254.169.254", "::ffff:0.0.0.0", "::169.254.169.254",
		"64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "64:ff9b::a83f:8110", "2002:a9fe:a9fe::1",
	} {
		for _, loopbackOnly := range []bool{true, false} {
			if err := checkAddr(netip.MustParseAddr(addr), loopbackOnly); !errors.Is(err, errRefused) {
				t.Errorf("%s may be connected to: %v", addr, err)
			}
		}
	}
	for _, addr := range []string{"10.0.0.1", "192.168.1.1", "203.0.113.7", "fd00::1", "2001:db8::1", "64:ff9b::cb00:7107", "100.64.0.1"} {
		if err := checkAddr(netip.MustParseAddr(addr), false); err != nil {
			t.Errorf("%s may not be connected to: %v", addr, err)
		}
		if err := checkAddr(netip.MustParseAddr(addr), true); !errors.Is(err, errRefused) {
			t.Errorf("plain http may go to %s", addr)
		}
	}
	for _, addr := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"} {
		if err := checkAddr(netip.MustParseAddr(addr), true); err != nil {
			t.Errorf("plain http may not go to %s: %v", addr, err)
		}
	}
}

func TestFetchURLRules(t *testing.T) {
	tests := []struct {
		url              string
		accept, insecure bool // accepted by itself, with insecure
	}{
		{"https://id.example.com/keys", true, true},
		{"https://id.example.com:8443/keys?p=1", true, true},
		{"HTTPS://id.example.com", true, true},
		{"https://127.0.0.1/keys", true, true},
		{"http://127.0.0.1:8080/keys", true, true},
		{"http://[::1]:8080/keys", true, true},
		{"http://localhost/keys", true, true},
		{"http://LOCALHOST./keys", true, true},
		{"http://id.localhost/keys", true, true},
		{"http://id.example.com/keys", false, true},
		{"http://localhost.example.com/keys", false, true},
		{"http://10.0.0.1/keys", false, true},
		{"https://user@id.example.com/keys", false, false},
		{"https://user:pw@id.example.com/keys", false, false},
		{"https://id.example.com/keys#a", false, false},
		{"https://id.example.com/keys#", false, false},
		{"https:///keys", false, false},
		{"https://:443/keys", false, false},
		{"https:id.example.com", false, false},
		{"file:///etc/keys", false, false},
		{"unix:///run/keys", false, false},
		{"//id.example.com/keys", false, false},
		{"id.example.com/keys", false, false},
		{"", false, false},
		{"https://id.example.com/%zz", false, false},
		{"https://id.example.com/\n", false, false},
	}
	for _, tt := range tests {
		if err := CheckFetchURL(tt.url, false); (err == nil) != tt.accept {
			t.Errorf("CheckFetchURL(%q, false): %v", tt.url, err)
		}
		if err := CheckFetchURL(tt.url, true); (err == nil) != tt.insecure {
			t.Errorf("CheckFetchURL(%q, true): %v", tt.url, err)
		}
	}
}
