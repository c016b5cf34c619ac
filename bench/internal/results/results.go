// Package results keeps what was measured as plain data: a JSON file for each
// command, from which the tables of docs/benchmarks.md are made.
package results

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Made says when, where and by what something was measured.
type Made struct {
	Date    string  `json:"date"`
	Command string  `json:"command"`
	Commit  string  `json:"commit"`
	Go      string  `json:"go"`
	CPUs    int     `json:"cpus"`
	CPU     string  `json:"cpu"`
	Memory  string  `json:"memory"`
	Kernel  string  `json:"kernel"`
	Load    float64 `json:"load_before"` // how many processes ran in the minute before
}

// MadeNow describes this machine and this moment. What the system does not tell is
// left empty.
func MadeNow(ctx context.Context, command string) Made {
	load, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	m := Made{
		Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"), Command: command,
		Go: runtime.Version(), CPUs: runtime.NumCPU(), CPU: field("/proc/cpuinfo", "model name"),
		Kernel: strings.TrimSpace(firstLine("/proc/sys/kernel/osrelease")),
	}
	m.Load, _ = strconv.ParseFloat(load, 64)
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", kib/(1<<20))
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

func firstLine(file string) string {
	data, _ := os.ReadFile(file) //nolint:gosec // of the kernel
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

// field returns what stands after "name:" in a file of the kernel.
func field(file, name string) string {
	data, _ := os.ReadFile(file) //nolint:gosec // of the kernel
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// String is the sentence under a heading.
func (m Made) String() string {
	return fmt.Sprintf("Made %s by `%s` of %s: %s, %d CPUs (%s), %s of memory, Linux %s; load average before: %.2f.",
		m.Date, m.Command, m.Commit, m.Go, m.CPUs, m.CPU, m.Memory, m.Kernel, m.Load)
}

// Read reads a file of results into v, and leaves v alone if there is none.
func Read(file string, v any) error {
	data, err := os.ReadFile(file) //nolint:gosec // one of ours
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Write writes a file of results, and makes its directory.
func Write(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // to be read by all
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644) //nolint:gosec // to be read by all
}

// Median returns the middle of the values, with the least and the greatest. All are
// NaN if there are no values.
func Median(values []float64) (median, least, greatest float64) {
	n := len(values)
	if n == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]
}

// Number writes a number with as many digits as it is good for.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e15:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
