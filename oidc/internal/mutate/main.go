// Command mutate breaks the library on purpose, in one place at a time, and
// reports the breaks that no test notices.
//
//	go run ./oidc/internal/mutate [-list] [-only TEXT] [-waivers FILE] FILE[:FUNCTION,...]...
//
// Functions that are named after a file are the only ones of it to be mutated: a
// method is TYPE.NAME.
//
// Every condition is made true and made false, && and || are exchanged, so are
// operators of arithmetic and of comparison at their boundary, constants are one
// more, truth is turned round, and statements are left out. All of these mutants
// are compiled into one test binary, each behind its number, and the variable
// CLAIMGATE_MUTANT says which of them is alive. A first round of one test at a
// time finds out which tests reach which mutants; then each mutant meets those
// tests only. That takes minutes where a compilation for each takes an hour.
//
// A mutant that survives is a missing test, or changes nothing that anyone could
// see. The second kind is waived in a file, a line each: the mutant as it is
// reported, " -- ", and the reason. A waiver that fits no survivor is an error.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	mutantVariable  = "CLAIMGATE_MUTANT"
	reachedVariable = "CLAIMGATE_REACHED"

	quickTests   = 100 * time.Millisecond
	addressSpace = 6 << 30 // of a test process: a mutant may append for ever
)

func main() {
	list := flag.Bool("list", false, "list the mutants and run nothing")
	only := flag.String("only", "", "look only at mutants that have this text in their name")
	waivers := flag.String("waivers", "", "file of the mutants that may survive, with reasons")
	workers := flag.Int("workers", 2, "test processes at once")
	flag.Parse()
	if err := run(*list, *only, *waivers, *workers, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(list bool, only, waivers string, workers int, files []string) error {
	start := time.Now()
	if len(files) == 0 {
		return errors.New("name the files to mutate, all of one package")
	}
	dir := filepath.Dir(files[0])
	waived, err := readWaivers(waivers)
	if err != nil {
		return err
	}
	sources, mutants, err := mutate(dir, files)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(mutants), func(m *mutant) bool { return !strings.Contains(m.name, only) })
	if list {
		for _, m := range chosen {
			fmt.Fprintln(os.Stdout, m.name)
		}
		return nil
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // it is under the system's folder for such things
	b := bench{dir: dir, work: work, binary: filepath.Join(work, "tests"), mutants: len(mutants)}
	if err := b.build(sources); err != nil {
		return err
	}
	tests, err := b.reach(workers)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%d mutants in %d files, %d tests, %s to prepare\n", len(chosen), len(files), len(tests), time.Since(start).Round(time.Second))
	b.meet(chosen, tests, workers)
	return report(chosen, waived, only != "", time.Since(start))
}

// report prints the survivors and what the waivers make of them.
func report(mutants []*mutant, waived map[string]string, partly bool, took time.Duration) error {
	counts := map[fate]int{}
	var faults []string
	survivors := map[string]bool{}
	for _, m := range mutants {
		counts[m.fate]++
		if m.fate == killed || m.fate == endless {
			continue
		}
		survivors[m.name] = true
		if waived[m.name] == "" {
			faults = append(faults, fmt.Sprintf("%s: %s", m.fate, m.name))
		}
	}
	for name := range waived {
		if !partly && !survivors[name] {
			faults = append(faults, "waived, but no survivor: "+name)
		}
	}
	slices.Sort(faults)
	for _, f := range faults {
		fmt.Fprintln(os.Stdout, f)
	}
	fmt.Fprintf(os.Stdout, "%d mutants: %d killed, %d killed as endless, %d survived, %d not reached, %d of these waived; %s\n",
		len(mutants), counts[killed], counts[endless], counts[survived], counts[unreached], len(survivors)-countUnwaived(survivors, waived), took.Round(time.Second))
	if len(faults) > 0 {
		return fmt.Errorf("%d mutants or waivers to look at", len(faults))
	}
	return nil
}

func countUnwaived(survivors map[string]bool, waived map[string]string) int {
	n := 0
	for name := range survivors {
		if waived[name] == "" {
			n++
		}
	}
	return n
}

func readWaivers(file string) (map[string]string, error) {
	waived := map[string]string{}
	if file == "" {
		return waived, nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the file that was named
	if err != nil {
		return nil, err
	}
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, ok := strings.Cut(line, " -- ")
		if !ok || reason == "" || waived[name] != "" {
			return nil, fmt.Errorf("%s:%d: not a mutant, \" -- \" and a reason, or there twice", file, n+1)
		}
		waived[name] = reason
	}
	return waived, nil
}

// bench is where mutants meet tests.
type bench struct {
	dir, work, binary string
	mutants           int
}

// build compiles the tests with the mutated sources in place of the real ones.
func (b bench) build(sources map[string][]byte) error {
	overlay := map[string]map[string]string{"Replace": {}}
	for name, text := range sources {
		mutated := filepath.Join(b.work, filepath.Base(name))
		if err := os.WriteFile(mutated, text, 0o600); err != nil {
			return err
		}
		absolute, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		overlay["Replace"][absolute] = mutated
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	file := filepath.Join(b.work, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", file, "-o", b.binary, "./"+filepath.ToSlash(b.dir)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the mutants do not compile: %w\n%s", err, out)
	}
	// From here on, test processes are children of this one.
	return syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: addressSpace, Max: addressSpace})
}

// tests runs tests, which took so long without a mutant, and reports whether they
// passed. One that takes ten times as long is taken for one that never ends.
func (b bench) tests(names []string, usual time.Duration, env ...string) (passed, ended bool, output []byte) {
	limit := 5*time.Second + 10*usual
	ctx, cancel := context.WithTimeout(context.Background(), limit+5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.binary, "-test.short", "-test.failfast", "-test.count=1", "-test.timeout="+limit.String(),
		"-test.run=^("+strings.Join(names, "|")+")$", "-rapid.seed=1", "-rapid.nofailfile", "-rapid.shrinktime=1ms")
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return err == nil, ctx.Err() == nil && !bytes.Contains(out, []byte("panic: test timed out")), out
}

// test is a test and what it reaches.
type test struct {
	name    string
	took    time.Duration
	reaches []byte // by number of the mutant
}

// reach runs each test by itself, without a mutant.
func (b bench) reach(workers int) ([]test, error) {
	names, err := exec.Command(b.binary, "-test.list=^(Test|Example)").Output() //nolint:gosec // which we built
	if err != nil {
		return nil, err
	}
	var list []test
	for name := range strings.FieldsSeq(string(names)) {
		list = append(list, test{name: name})
	}
	errs := make([]error, len(list))
	each(workers, len(list), func(i int) {
		file := filepath.Join(b.work, "reached"+strconv.Itoa(i))
		if errs[i] = os.WriteFile(file, make([]byte, b.mutants), 0o600); errs[i] != nil {
			return
		}
		start := time.Now()
		passed, _, out := b.tests([]string{list[i].name}, time.Minute, reachedVariable+"="+file)
		list[i].took = time.Since(start)
		if !passed {
			errs[i] = fmt.Errorf("%s fails without a mutant:\n%s", list[i].name, out)
			return
		}
		list[i].reaches, errs[i] = os.ReadFile(file) //nolint:gosec // ours
	})
	slices.SortStableFunc(list, func(a, b test) int { return cmp.Compare(a.took, b.took) })
	return list, errors.Join(errs...)
}

// batch is tests that run in one process.
type batch struct {
	names []string
	usual time.Duration
}

func (b *batch) add(t test) {
	b.names = append(b.names, t.name)
	b.usual += t.took
}

// meet decides the fate of each mutant. Quick tests go first.
func (b bench) meet(mutants []*mutant, tests []test, workers int) {
	each(workers, len(mutants), func(i int) {
		m := mutants[i]
		var quick, slow batch
		for _, t := range tests {
			switch {
			case t.reaches[m.number] == 0:
			case t.took < quickTests:
				quick.add(t)
			default:
				slow.add(t)
			}
		}
		m.fate = unreached
		for _, tests := range []batch{quick, slow} {
			if len(tests.names) == 0 {
				continue
			}
			passed, ended, _ := b.tests(tests.names, tests.usual, mutantVariable+"="+strconv.Itoa(m.number))
			switch {
			case passed:
				m.fate = survived
			case ended:
				m.fate = killed
			default:
				m.fate = endless
			}
			if !passed {
				return
			}
		}
	})
}

// each calls f with 0 to n-1, a few at once.
func each(workers, n int, f func(i int)) {
	next := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}
