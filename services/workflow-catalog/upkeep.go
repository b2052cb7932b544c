package catalog

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
)

const (
	pruneInterval = time.Hour
	// A watcher that was away for longer begins with a snapshot.
	keepChanges    = 7 * 24 * time.Hour
	keepRequests   = 7 * 24 * time.Hour
	keepTombstones = 30 * 24 * time.Hour
)

// prune drops what has been kept long enough, now and then.
func (s *Service) prune(ctx context.Context) error {
	ticker := time.NewTicker(pruneInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		keep := postgres.Retention{Changes: keepChanges, Requests: keepRequests, Tombstones: keepTombstones}
		if err := s.store.Prune(ctx, keep); err != nil && ctx.Err() == nil {
			s.cfg.Telemetry.Logger.WarnContext(ctx, "old rows stay for another round", "error", err)
		}
	}
}

// observe registers the service's metrics.
func (s *Service) observe() error {
	meter := s.cfg.Telemetry.Meter("workflow.uniconnect/services/workflow-catalog")
	watchers, err := meter.Int64ObservableGauge("uc.catalog.watchers", metric.WithDescription("Open watches of definitions"))
	if err != nil {
		return fmt.Errorf("make metric: %w", err)
	}
	lag, err := meter.Float64ObservableGauge("uc.catalog.feed.lag", metric.WithUnit("s"),
		metric.WithDescription("Time since the change feed was last read to its end"))
	if err != nil {
		return fmt.Errorf("make metric: %w", err)
	}
	pending, err := meter.Int64ObservableGauge("uc.catalog.deletions.pending", metric.WithDescription("Workflows on their way out"))
	if err != nil {
		return fmt.Errorf("make metric: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(watchers, s.definitions.Watchers())
		o.ObserveFloat64(lag, s.hub.Lag().Seconds())
		o.ObserveInt64(pending, s.deletions.Pending())
		return nil
	}, watchers, lag, pending)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}
