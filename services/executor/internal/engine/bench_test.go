package engine_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// BenchmarkEngine accepts and runs one-step executions whose action does nothing. It reports the CPU time of this process and of
// PostgreSQL for each, which survives the noise of other work better than the rate does. Run it with -benchtime=20000x.
func BenchmarkEngine(b *testing.B) {
	for _, batch := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("calls_of_%d", batch), func(b *testing.B) { benchmarkEngine(b, batch, 4, 0) })
	}
	// More starts in flight than there are slots: what a backlog costs.
	b.Run("saturated", func(b *testing.B) { benchmarkEngine(b, 256, 12, 20*time.Millisecond) })
}

func benchmarkEngine(b *testing.B, batch, callers int, latency time.Duration) {
	w := newWorld(b)
	w.calls = nil
	if latency > 0 {
		do := w.do
		w.do = func(ctx context.Context, c action.Call) run.Outcome {
			timer := time.NewTimer(latency)
			defer timer.Stop()
			<-timer.C
			return do(ctx, c)
		}
	}
	id := w.define(1, step("one"))
	n := w.engine(w.store, 512)
	n.start(starts("acme", id, "warm up"))
	body := strings.Repeat("x", 400)
	pg := postgresProcesses(b, w)
	pgBefore, meBefore := cpuOf(pg), ownCPU()
	b.ResetTimer()
	begin := time.Now()
	var next atomic.Int64
	var group sync.WaitGroup
	for range callers * max(64/batch, 1) {
		group.Go(func() {
			for {
				end := next.Add(int64(batch))
				if end > int64(b.N) {
					return
				}
				all := make([]execution.Start, batch)
				for i := range all {
					key := strconv.FormatInt(end-int64(i), 10)
					all[i] = execution.Start{
						Tenant: "acme", WorkflowID: id, Revision: 1, Key: execution.ManualKey(id, key),
						Cause: execution.EventCause(key, "call.ended", "/calls"),
						Event: []byte(`{"id":"` + key + `","data":{"body":"` + body + `"}}`),
					}
				}
				if _, err := n.Start(b.Context(), all); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	w.awaitCount(`SELECT count(*) FROM live`, 0)
	b.StopTimer()
	took := time.Since(begin)
	done := float64(w.count(`SELECT count(*) FROM executions`) - 1)
	b.ReportMetric(done/took.Seconds(), "runs/s")
	b.ReportMetric(float64((ownCPU()-meBefore).Microseconds())/done, "own-cpu-µs/run")
	b.ReportMetric(float64((cpuOf(pg)-pgBefore).Microseconds())/done, "pg-cpu-µs/run")
	b.ReportMetric(0, "ns/op")
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// postgresProcesses are the server's processes: the children of the one that our connections' processes are children of.
func postgresProcesses(b *testing.B, w *world) string {
	b.Helper()
	var pid int
	if err := w.pool.QueryRow(b.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		b.Fatal(err)
	}
	return statOf(pid)[3]
}

// statOf returns the fields of /proc/<pid>/stat, the name in one piece.
func statOf(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return make([]string, 52)
	}
	text := string(raw)
	end := strings.LastIndexByte(text, ')')
	return append([]string{text[:strings.IndexByte(text, ' ')], text[strings.IndexByte(text, '('):end]}, strings.Fields(text[end+1:])...)
}

func cpuOf(parent string) time.Duration {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	ticks := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat := statOf(pid)
		if stat[3] != parent && stat[0] != parent {
			continue
		}
		for _, field := range stat[13:15] {
			n, err := strconv.Atoi(field)
			if err == nil {
				ticks += n
			}
		}
	}
	const ticksPerSecond = 100
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
