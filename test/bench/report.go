//go:build linux

package bench

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// maxOther is the load of others above which figures are not to be trusted.
const maxOther = 0.10

// Report holds the figures of a run.
type Report struct {
	Config                   Config
	Ours, Reference          []round
	Grown                    *round
	OursLatency, LoopLatency latency
	MemoryIdle, MemoryLoaded int64
}

// latency is how long triggers took to the target.
type latency struct {
	p50, p99 time.Duration
	cost     cost
	n        int
}

func newLatency(sorted []time.Duration, c cost) latency {
	return latency{p50: percentile(sorted, 0.50), p99: percentile(sorted, 0.99), cost: c, n: len(sorted)}
}

// median of a figure over rounds.
func median[T any, F cmp.Ordered](rounds []T, figure func(T) F) F {
	all := make([]F, len(rounds))
	for i, r := range rounds {
		all[i] = figure(r)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// Ratio is the product's share of the reference loop's rate.
func (r *Report) Ratio() float64 {
	return median(r.Ours, round.perSecond) / median(r.Reference, round.perSecond)
}

// Print writes the table.
func (r *Report) Print(w io.Writer) {
	deployment := "workflowd: one process with NATS inside"
	if r.Config.Separate {
		deployment = "separate processes: catalog, trigger-scheduler, executor, gateway, sandbox, NATS"
	}
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("\nDeployment: %s; PostgreSQL beside it, fsync on; %d CPUs; driver and target in one process on the same CPUs.", deployment, runtime.NumCPU())
	p("Work: %d active workflows, %d of them with the event's type and another filter (%s); medians of %d rounds of %d runs.\n",
		r.Config.Workflows, r.Config.Sharing, r.Config.Filters, r.Config.Rounds, r.Config.Runs)
	line := strings.Repeat("-", 112)
	p("%-46s %14s %14s %10s %12s %10s", "figure", "ours", "reference", "ratio", "to reach", "other load")
	p("%s", line)
	own, ref := median(r.Ours, round.perSecond), median(r.Reference, round.perSecond)
	p("%-46s %14.0f %14.0f %9.0f%% %12s %s", "sustained executions/s", own, ref, 100*own/ref, ">= 60 %", r.others(r.Ours, r.Reference))
	cpu := func(x round) time.Duration { return x.cost.perRun(x.n) }
	ownCPU, refCPU := median(r.Ours, cpu), median(r.Reference, cpu)
	p("%-46s %14s %14s %9.2fx %12s", "CPU per run, system + PostgreSQL", ownCPU, refCPU, ratio(ownCPU, refCPU), "<= 220µs")
	part := func(of func(cost) time.Duration) func(round) time.Duration {
		return func(x round) time.Duration { return of(x.cost) / time.Duration(x.n) }
	}
	for _, c := range []struct {
		name string
		of   func(cost) time.Duration
	}{
		{"  of it our processes with NATS", func(c cost) time.Duration { return c.System }},
		{"  of it PostgreSQL", func(c cost) time.Duration { return c.Postgres }},
		{"  beside it driver and target", func(c cost) time.Duration { return c.Driver }},
	} {
		p("%-46s %14s %14s", c.name, median(r.Ours, part(c.of)), median(r.Reference, part(c.of)))
	}
	at := fmt.Sprintf("published → target, %d/s, %d events", r.Config.Rate, r.OursLatency.n)
	load := fmt.Sprintf("%.0f/%.0f %%", 100*r.OursLatency.cost.Other, 100*r.LoopLatency.cost.Other)
	p("%-46s %14s %14s %9.1fx %12s %s", at+", p50", short(r.OursLatency.p50), short(r.LoopLatency.p50),
		ratio(r.OursLatency.p50, r.LoopLatency.p50), "<= 3ms", load)
	p("%-46s %14s %14s %9.1fx %12s", at+", p99", short(r.OursLatency.p99), short(r.LoopLatency.p99),
		ratio(r.OursLatency.p99, r.LoopLatency.p99), "<= 10ms")
	p("%-46s %10d MiB %14s %10s %12s", "memory idle, without PostgreSQL", r.MemoryIdle>>20, "", "", "<= 80 MiB")
	p("%-46s %10d MiB %14s %10s %12s", "memory at full load, without PostgreSQL", r.MemoryLoaded>>20, "", "", "<= 300 MiB")
	if g := r.Grown; g != nil {
		grown := g.cost.perRun(g.n)
		p("%-46s %14s %14s %9.2fx %12s %.0f %%", fmt.Sprintf("CPU per run with %d times the events", r.Config.Growth), grown, "",
			ratio(grown, ownCPU), "<= 1.3x", 100*g.cost.Other)
	}
	p("%s", line)
	if worst := r.worst(); worst > maxOther {
		p("Others took up to %.0f %% of the machine during these rounds: above 10 %% the figures are not to be trusted.", 100*worst)
	}
}

// others is the largest load of others during the rounds of both sides.
func (r *Report) others(own, reference []round) string {
	return fmt.Sprintf("%.0f/%.0f %%", 100*largestOther(own), 100*largestOther(reference))
}

func (r *Report) worst() float64 {
	return max(largestOther(r.Ours), largestOther(r.Reference), r.OursLatency.cost.Other, r.LoopLatency.cost.Other)
}

func largestOther(rounds []round) float64 {
	var largest float64
	for _, x := range rounds {
		largest = max(largest, x.cost.Other)
	}
	return largest
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
