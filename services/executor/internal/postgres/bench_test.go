package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"workflow.uniconnect/services/executor/internal/execution"
)

// BenchmarkStore measures one accept and one record of a batch, by its size: neither may grow faster than the batch.
func BenchmarkStore(b *testing.B) {
	for _, size := range []int{1, 16, 128, 512} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := newFixture(b)
			me := f.owner(time.Hour)
			var acceptTime, flushTime time.Duration
			runs := 0
			for i := range b.N {
				var items []execution.Accept
				var records []execution.Record
				for k := range size {
					item := owned(start("acme", 1, fmt.Sprintf("%d-%d-%d", b.N, i, k)))
					items = append(items, item)
					records = append(records, ended(item, 1))
				}
				begin := time.Now()
				f.accept(me, items...)
				mid := time.Now()
				f.flush(me, records...)
				flushTime += time.Since(mid)
				acceptTime += mid.Sub(begin)
				runs += size
			}
			b.ReportMetric(float64(acceptTime.Microseconds())/float64(runs), "accept-µs/run")
			b.ReportMetric(float64(flushTime.Microseconds())/float64(runs), "flush-µs/run")
			b.ReportMetric(0, "ns/op")
		})
	}
}
