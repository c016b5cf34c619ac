package server

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Disturbance tells how much of the machine others have used: processes that are not
// in a list, and not this one.
type Disturbance struct {
	ours  []*Process
	began time.Time
	busy  time.Duration
	own   time.Duration
}

// Watching begins to watch.
func Watching(ours ...*Process) (*Disturbance, error) {
	d := &Disturbance{ours: ours, began: time.Now()}
	var err error
	if d.busy, err = busy(); err != nil {
		return nil, err
	}
	d.own, err = d.used()
	return d, err
}

// Others returns how many processors others have used since the beginning, on
// average.
func (d *Disturbance) Others() (float64, error) {
	now, err := busy()
	if err != nil {
		return 0, err
	}
	own, err := d.used()
	if err != nil {
		return 0, err
	}
	others := (now - d.busy) - (own - d.own)
	return max(0, others.Seconds()/time.Since(d.began).Seconds()), nil
}

// used is what this process and the others of ours have used.
func (d *Disturbance) used() (time.Duration, error) {
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return 0, err
	}
	total := time.Duration(self.Utime.Nano() + self.Stime.Nano())
	for _, p := range d.ours {
		cpu, err := p.CPU()
		if err != nil {
			return 0, err
		}
		total += cpu
	}
	return total, nil
}

// busy is the processor time that all processes have used since the machine started,
// with what the host of a virtual machine has taken (proc(5), /proc/stat: user, nice,
// system, steal, in ticks of 10 ms). Interrupts belong to nobody.
func busy() (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, errors.New("/proc/stat: the first line is not about all processors")
	}
	total := 0
	for _, i := range []int{1, 2, 3, 8} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, err
		}
		total += n
	}
	return time.Duration(total) * 10 * time.Millisecond, nil
}
