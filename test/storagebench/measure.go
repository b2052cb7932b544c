package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
)

const ticksPerSecond = 100 // USER_HZ, fixed in the kernel's interface on Linux

// sample is the state of all counters at one instant.
type sample struct {
	at        time.Time
	serverCPU time.Duration
	clientCPU time.Duration
	busy      time.Duration // of the whole machine
	walBytes  int64
	walImages int64
	updates   int64
	hot       int64
	size      int64
}

func takeSample(ctx context.Context, conn *pgx.Conn, postmaster int) (sample, error) {
	s := sample{at: time.Now()}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return s, err
	}
	s.clientCPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	var err error
	if s.serverCPU, err = serverCPU(postmaster); err != nil {
		return s, err
	}
	if s.busy, err = machineCPU(); err != nil {
		return s, err
	}
	// Writers have disconnected by now, which makes their counters visible.
	const counters = `SELECT pg_current_wal_insert_lsn() - '0/0', (SELECT wal_fpi FROM pg_stat_wal),
  (SELECT sum(n_tup_upd) FROM pg_stat_user_tables), (SELECT sum(n_tup_hot_upd) FROM pg_stat_user_tables),
  pg_database_size(current_database())`
	var lsn float64
	err = conn.QueryRow(ctx, counters).Scan(&lsn, &s.walImages, &s.updates, &s.hot, &s.size)
	s.walBytes = int64(lsn)
	return s, err
}

// serverCPU adds up the postmaster, its children, and those that have ended.
func serverCPU(postmaster int) (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended, and its parent counts it
		}
		// The fields after the program's name, which may hold anything.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		number := func(i int) int64 {
			n, parseErr := strconv.ParseInt(fields[i-3], 10, 64) // proc(5) counts from 1, and two fields are gone
			if parseErr != nil && err == nil {
				err = parseErr
			}
			return n
		}
		self := name == fmt.Sprintf("/proc/%d/stat", postmaster)
		if self || number(4) == int64(postmaster) {
			ticks += number(14) + number(15)
		}
		if self {
			ticks += number(16) + number(17)
		}
		if err != nil {
			return 0, err
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// machineCPU is the time that all processors spent on anything.
func machineCPU() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	var ticks int64
	for i, field := range strings.Fields(first) {
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue // the name, idle, waiting for the disk, and what is counted twice
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// claims are the times that claim queries took.
type claims []time.Duration

func (c claims) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(c))
	return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000
}

// String sums up for the log.
func (c claims) String() string {
	return fmt.Sprintf("%d claims, p50 %.2f ms, p99 %.2f ms", len(c), c.quantile(0.5), c.quantile(0.99))
}

// result is one round, per execution where that makes sense.
type result struct {
	perSecond float64
	serverCPU float64 // µs
	vacuumCPU float64 // µs
	clientCPU float64 // µs
	walBytes  float64 // without full-page images
	walImages float64 // bytes of full-page images
	hot       float64 // share of updates
	disk      float64 // bytes the database grew, after a vacuum
	others    float64 // share of the machine that went to other programs
}

func newResult(samples [3]sample, runs int) result {
	before, after, vacuumed := samples[0], samples[1], samples[2]
	n := float64(runs)
	took := after.at.Sub(before.at)
	ours := after.serverCPU - before.serverCPU + after.clientCPU - before.clientCPU
	const page = 8192
	images := float64(after.walImages-before.walImages) * page
	r := result{
		perSecond: n / took.Seconds(),
		serverCPU: float64((after.serverCPU - before.serverCPU).Microseconds()) / n,
		vacuumCPU: float64((vacuumed.serverCPU - after.serverCPU).Microseconds()) / n,
		clientCPU: float64((after.clientCPU - before.clientCPU).Microseconds()) / n,
		walBytes:  (float64(after.walBytes-before.walBytes) - images) / n,
		walImages: images / n,
		disk:      float64(vacuumed.size-before.size) / n,
		others:    float64(after.busy-before.busy-ours) / float64(took) / float64(runtime.NumCPU()),
	}
	if updates := after.updates - before.updates; updates > 0 {
		r.hot = float64(after.hot-before.hot) / float64(updates)
	}
	return r
}

func (r result) String() string {
	return fmt.Sprintf("%.0f/s, PG %.1f µs, vacuum %.1f µs, client %.1f µs, WAL %.0f + images %.0f B, HOT %.0f %%, disk %.0f B; other programs %.0f %%",
		r.perSecond, r.serverCPU, r.vacuumCPU, r.clientCPU, r.walBytes, r.walImages, 100*r.hot, r.disk, 100*r.others)
}

func printTable(w io.Writer, benches []*bench) error {
	var table strings.Builder
	table.WriteString("layout\truns/s\tPG µs\tvacuum µs\tclient µs\tWAL B\timages B\tHOT %\tdisk B\tothers %\tclaim p50 ms\tp99 ms\t\n")
	for _, b := range benches {
		median := func(value func(result) float64) float64 {
			var values []float64
			for _, r := range b.results {
				values = append(values, value(r))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		fmt.Fprintf(&table, "%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t\n", b.layout.name,
			median(func(r result) float64 { return r.perSecond }), median(func(r result) float64 { return r.serverCPU }),
			median(func(r result) float64 { return r.vacuumCPU }), median(func(r result) float64 { return r.clientCPU }),
			median(func(r result) float64 { return r.walBytes }), median(func(r result) float64 { return r.walImages }),
			100*median(func(r result) float64 { return r.hot }), median(func(r result) float64 { return r.disk }),
			100*median(func(r result) float64 { return r.others }),
			b.claims.quantile(0.5), b.claims.quantile(0.99))
	}
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.AlignRight|tabwriter.Debug)
	if _, err := io.WriteString(t, table.String()); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}
