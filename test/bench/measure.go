//go:build linux

package bench

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"workflow.uniconnect/test/procfs"
	"workflow.uniconnect/test/stack"
)

// cost is the CPU time that somebody used between two moments.
type cost struct {
	System   time.Duration // the processes under test, NATS included
	Postgres time.Duration
	Driver   time.Duration // this process: driver and target
	Other    float64       // share of the machine that everybody else took
	Took     time.Duration
}

// perRun is the CPU of the system and of PostgreSQL for one run.
func (c cost) perRun(n int) time.Duration { return (c.System + c.Postgres) / time.Duration(n) }

// meter reads the cost of processes.
type meter struct {
	processes []*stack.Process
	postgres  int
}

// reading is what the meter showed at a moment.
type reading struct {
	at                                time.Time
	system, postgres, driver, machine time.Duration
}

func (m *meter) read() (reading, error) {
	r := reading{at: time.Now()}
	for _, p := range m.processes {
		used, err := procfs.CPU(p.PID())
		if err != nil {
			return r, err
		}
		r.system += used
	}
	var err error
	if r.postgres, err = procfs.CPU(m.postgres); err != nil {
		return r, err
	}
	if r.driver, err = procfs.Self(os.Getpid()); err != nil {
		return r, err
	}
	r.machine, err = procfs.Machine()
	return r, err
}

func (r reading) until(end reading) cost {
	c := cost{
		System: end.system - r.system, Postgres: end.postgres - r.postgres, Driver: end.driver - r.driver, Took: end.at.Sub(r.at),
	}
	rest := end.machine - r.machine - c.System - c.Postgres - c.Driver
	c.Other = max(0, rest.Seconds()/(c.Took.Seconds()*float64(runtime.NumCPU())))
	return c
}

// watchMemory samples the memory of processes and returns the largest sum when stop is called.
func watchMemory(ctx context.Context, processes []*stack.Process) (stop func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	var largest int64
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			largest = max(largest, memory(processes))
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	})
	return func() int64 { cancel(); wg.Wait(); return largest }
}

func memory(processes []*stack.Process) int64 {
	var sum int64
	for _, p := range processes {
		bytes, err := procfs.RSS(p.PID())
		if err == nil { // a process that ended shows up elsewhere
			sum += bytes
		}
	}
	return sum
}
