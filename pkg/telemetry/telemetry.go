// Package telemetry makes what a process reports about itself: JSON logs, traces and metrics. Nothing is global; whoever needs a logger
// or a provider is given this package's Telemetry.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
)

// Options says who reports, and where to.
type Options struct {
	// Service and Version are on every log line and span.
	Service, Version string
	LogLevel         slog.Level
	// Writer receives the log; os.Stderr when nil.
	Writer io.Writer
	// SpanProcessor, when set, receives every sampled span beside the exporter that the environment names.
	SpanProcessor sdktrace.SpanProcessor
	// Sampler decides about traces that begin here, in place of the environment.
	Sampler sdktrace.Sampler
}

// Telemetry holds the logger and the providers of a process.
type Telemetry struct {
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Propagator     propagation.TextMapPropagator

	version  string
	base     *slog.Logger
	metrics  http.Handler
	shutdown func(context.Context) error
}

// New returns the telemetry of a process. Spans are exported over OTLP when OTEL_EXPORTER_OTLP_ENDPOINT (or its …_TRACES_… form) is set.
// A trace that arrives sampled stays sampled; one that begins here is not, unless OTEL_TRACES_SAMPLER says otherwise. Trace ids
// are made in either case, so that log lines of one call can be found by them.
func New(ctx context.Context, opts Options) (*Telemetry, error) {
	w := opts.Writer
	if w == nil {
		w = os.Stderr
	}
	base := slog.New(&traceHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: opts.LogLevel})})
	res := resource.NewSchemaless(
		attribute.String("service.name", opts.Service),
		attribute.String("service.version", opts.Version),
	)
	tracers, err := newTracerProvider(ctx, opts, res)
	if err != nil {
		return nil, err
	}
	meters, handler, err := newMeterProvider(res)
	if err != nil {
		return nil, errors.Join(err, tracers.Shutdown(ctx))
	}
	t := &Telemetry{
		TracerProvider: tracers,
		MeterProvider:  meters,
		Propagator:     newPropagator(),
		version:        opts.Version,
		base:           base,
		metrics:        handler,
		shutdown: func(ctx context.Context) error {
			return errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx))
		},
	}
	t.Logger = t.loggerOf(opts.Service)
	return t, nil
}

// Discard returns telemetry that goes nowhere, for tests and tools.
func Discard() *Telemetry {
	base := slog.New(slog.DiscardHandler)
	return &Telemetry{
		Logger:         base,
		TracerProvider: nooptrace.NewTracerProvider(),
		MeterProvider:  noopmetric.NewMeterProvider(),
		Propagator:     newPropagator(),
		base:           base,
		metrics:        http.NotFoundHandler(),
		shutdown:       func(context.Context) error { return nil },
	}
}

// Named returns the same telemetry with the log lines of another service, for a process that holds several.
func (t *Telemetry) Named(service string) *Telemetry {
	c := *t
	c.Logger = t.loggerOf(service)
	return &c
}

// Tracer returns the tracer of an instrumented package.
func (t *Telemetry) Tracer(name string) trace.Tracer { return t.TracerProvider.Tracer(name) }

// Meter returns the meter of an instrumented package.
func (t *Telemetry) Meter(name string) metric.Meter { return t.MeterProvider.Meter(name) }

// MetricsHandler serves the metrics to Prometheus.
func (t *Telemetry) MetricsHandler() http.Handler { return t.metrics }

// Shutdown sends what is buffered and stops. Named copies share it: it is called once, by whoever called New.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if err := t.shutdown(ctx); err != nil {
		return fmt.Errorf("shut down telemetry: %w", err)
	}
	return nil
}

func (t *Telemetry) loggerOf(service string) *slog.Logger {
	return t.base.With("service", service, "version", t.version)
}

// newPropagator leaves baggage out: its content comes from clients and would travel to targets outside.
func newPropagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

func newTracerProvider(ctx context.Context, opts Options, res *resource.Resource) (*sdktrace.TracerProvider, error) {
	providerOpts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	switch {
	case opts.Sampler != nil:
		providerOpts = append(providerOpts, sdktrace.WithSampler(opts.Sampler))
	case os.Getenv("OTEL_TRACES_SAMPLER") == "":
		providerOpts = append(providerOpts, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	}
	if opts.SpanProcessor != nil {
		providerOpts = append(providerOpts, sdktrace.WithSpanProcessor(opts.SpanProcessor))
	}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" {
		exporter, err := otlptracegrpc.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("make trace exporter: %w", err)
		}
		providerOpts = append(providerOpts, sdktrace.WithBatcher(exporter))
	}
	return sdktrace.NewTracerProvider(providerOpts...), nil
}

func newMeterProvider(res *resource.Resource) (*sdkmetric.MeterProvider, http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, nil, fmt.Errorf("make metric exporter: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res))
	return provider, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}
