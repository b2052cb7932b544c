package engine

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"workflow.uniconnect/services/executor/internal/run"
)

// metrics are what an engine counts. Attribute sets are made once: they are on the path of every execution.
type metrics struct {
	acceptSize   metric.Int64Histogram
	flushSize    metric.Int64Histogram
	flushSeconds metric.Float64Histogram
	claimedRows  metric.Int64Counter
	endings      metric.Int64Counter

	succeeded, failed, cancelled metric.MeasurementOption
	// oldestClaimable is how many nanoseconds the oldest claimable row has been due.
	oldestClaimable atomic.Int64
}

func newMetrics(meter metric.Meter, s *slots) (*metrics, error) {
	m := &metrics{succeeded: stateIs("succeeded"), failed: stateIs("failed"), cancelled: stateIs("cancelled")}
	sizes := metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
	seconds := metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	var err error
	keep := func(problem error) {
		if err == nil {
			err = problem
		}
	}
	var problem error
	m.acceptSize, problem = meter.Int64Histogram("uc_executor_accept_batch_size",
		metric.WithDescription("Starts settled by one transaction."), sizes)
	keep(problem)
	m.flushSize, problem = meter.Int64Histogram("uc_executor_flush_size",
		metric.WithDescription("Executions recorded by one transaction."), sizes)
	keep(problem)
	m.flushSeconds, problem = meter.Float64Histogram("uc_executor_flush_duration", metric.WithUnit("s"),
		metric.WithDescription("Time from a batch of records to its commit."), seconds)
	keep(problem)
	m.claimedRows, problem = meter.Int64Counter("uc_executor_claimed_rows",
		metric.WithDescription("Due executions taken from the table."))
	keep(problem)
	m.endings, problem = meter.Int64Counter("uc_executor_executions_ended",
		metric.WithDescription("Executions that ended, by state."))
	keep(problem)
	used, problem := meter.Int64ObservableGauge("uc_executor_slots_used", metric.WithDescription("Slots that hold an execution."))
	keep(problem)
	total, problem := meter.Int64ObservableGauge("uc_executor_slots_total", metric.WithDescription("Slots of this process."))
	keep(problem)
	oldest, problem := meter.Float64ObservableGauge("uc_executor_oldest_claimable_age", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest claimable row has been due."))
	keep(problem)
	if err != nil {
		return nil, err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(used, int64(s.inUse()))
		o.ObserveInt64(total, int64(s.total))
		o.ObserveFloat64(oldest, time.Duration(m.oldestClaimable.Load()).Seconds())
		return nil
	}, used, total, oldest)
	return m, err
}

func stateIs(state string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("state", state)))
}

func (m *metrics) acceptBatch(ctx context.Context, size int) { m.acceptSize.Record(ctx, int64(size)) }

func (m *metrics) flushed(ctx context.Context, size int, took time.Duration) {
	m.flushSize.Record(ctx, int64(size))
	m.flushSeconds.Record(ctx, took.Seconds())
}

func (m *metrics) claimed(ctx context.Context, rows int) {
	if rows > 0 {
		m.claimedRows.Add(ctx, int64(rows))
	}
}

func (m *metrics) ended(ctx context.Context, state run.ExecState) {
	switch state {
	case run.Succeeded:
		m.endings.Add(ctx, 1, m.succeeded)
	case run.Failed:
		m.endings.Add(ctx, 1, m.failed)
	case run.Cancelled:
		m.endings.Add(ctx, 1, m.cancelled)
	}
}
