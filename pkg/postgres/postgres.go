// Package postgres is how services reach PostgreSQL: a connection pool with the
// timeouts and the hygiene that long-running processes need, transactions that
// are retried as a whole, errors told apart in one place, and migrations.
//
// It holds no SQL of any service and knows no tables.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
)

// errNoURL spares the driver's search for a server on this machine, which would find none or the wrong one.
var errNoURL = errors.New("no database is named: set UC_DATABASE_URL")

const (
	connectTimeout    = 2 * time.Second
	connLifetime      = 10 * time.Minute
	connLifetimeSpan  = 3 * time.Minute
	connIdleTime      = 5 * time.Minute
	idleInTransaction = 10 * time.Second
	readyTimeout      = 2 * time.Second
)

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Options says which database to use and how. A parameter that the URL sets
// itself (?statement_timeout=…) wins over the one given here.
type Options struct {
	// URL is the connection string. Required.
	URL string
	// Schema is the only schema on the search path. Empty leaves the server's.
	Schema string
	// Role is the role of the schema that the connections take. Empty means that
	// of the URL's user.
	Role Role
	// Name shows in pg_stat_activity.
	Name string
	// MaxConns limits the pool; 0 means pgx's default.
	MaxConns int32
	// StatementTimeout and LockTimeout limit each statement and each wait for a
	// lock inside the server; 0 means no limit. The statement's should be a
	// little below the deadline of the call that it serves.
	StatementTimeout time.Duration
	LockTimeout      time.Duration
	// Parameters are settings of the server for these connections, such as the
	// planner's.
	Parameters map[string]string
	// Prepare has every connection parse a statement once, when it first runs
	// it. Planning stays as it is: with the values, each time, unless a
	// transaction sets plan_cache_mode. A bouncer between must know prepared
	// statements, as PgBouncer does from 1.21.
	Prepare bool
	// TracerProvider and MeterProvider may be nil: no spans, no pool metrics.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Open makes a pool. It does not connect: use Ready to learn whether the
// database answers.
func Open(ctx context.Context, opts Options) (*pgxpool.Pool, error) {
	cfg, err := poolConfig(opts)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", err)
	}
	if opts.MeterProvider != nil {
		if err := otelpgx.RecordStats(pool, otelpgx.WithStatsMeterProvider(opts.MeterProvider),
			otelpgx.WithStatsAttributes(attribute.String("pool", opts.Name))); err != nil {
			pool.Close()
			return nil, fmt.Errorf("record database pool metrics: %w", err)
		}
	}
	return pool, nil
}

func poolConfig(opts Options) (*pgxpool.Config, error) {
	if opts.URL == "" {
		return nil, errNoURL
	}
	cfg, err := pgxpool.ParseConfig(opts.URL)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	params := map[string]string{
		"application_name":                    opts.Name,
		"statement_timeout":                   millis(opts.StatementTimeout),
		"lock_timeout":                        millis(opts.LockTimeout),
		"idle_in_transaction_session_timeout": millis(idleInTransaction),
	}
	if opts.Schema != "" {
		if !schemaName.MatchString(opts.Schema) {
			return nil, fmt.Errorf("schema name %q is not a plain lower-case identifier", opts.Schema)
		}
		params["search_path"] = opts.Schema
	}
	if opts.Prepare {
		params["plan_cache_mode"] = "force_custom_plan"
	}
	maps.Copy(params, opts.Parameters)
	maps.Copy(params, cfg.ConnConfig.RuntimeParams)
	if opts.Role != "" {
		if opts.Schema == "" {
			return nil, fmt.Errorf("role %s: roles are those of a schema, and none is named", opts.Role)
		}
		params["role"] = opts.Role.In(opts.Schema)
		cfg.AfterConnect = takesRole(params["role"])
	}
	cfg.ConnConfig.RuntimeParams = params
	harden(cfg.ConnConfig)
	// Statements are planned with their values each time. A plan that is kept may have been made while its table was empty, when every index
	// looks as good as any other, and be ruinous an hour later.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	if opts.Prepare {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	}

	if opts.MaxConns > 0 {
		cfg.MaxConns = opts.MaxConns
	}
	cfg.MaxConnLifetime = connLifetime
	cfg.MaxConnLifetimeJitter = connLifetimeSpan
	cfg.MaxConnIdleTime = connIdleTime
	if opts.TracerProvider != nil {
		// The tracer would take the global meter when given none.
		cfg.ConnConfig.Tracer = otelpgx.NewTracer(
			otelpgx.WithTracerProvider(opts.TracerProvider),
			otelpgx.WithMeterProvider(metricnoop.NewMeterProvider()),
		)
	}
	return cfg, nil
}

// harden makes a connection close itself when the server says that it is no
// longer the right one to talk to. A pool keeps sockets for minutes: without
// this, those to a demoted primary would go on to answer reads and refuse
// writes for as long.
func harden(cfg *pgx.ConnConfig) {
	if cfg.ConnectTimeout == 0 || cfg.ConnectTimeout > connectTimeout {
		cfg.ConnectTimeout = connectTimeout
	}
	closesOn := cfg.OnPgError
	cfg.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		if lostServer(err.Code) {
			return false
		}
		return closesOn == nil || closesOn(conn, err)
	}
}

// Ready checks that the database accepts writes, which a standby, a read-only
// server and one without free connections do not.
func Ready(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	const probe = `SELECT pg_current_xact_id()::text, current_setting('transaction_read_only') = 'on'`
	var xid string
	var readOnly bool
	if err := pool.QueryRow(ctx, probe).Scan(&xid, &readOnly); err != nil {
		return Classify(fmt.Errorf("probe the database: %w", err))
	}
	if readOnly {
		return unavailable(errors.New("probe the database: it is read-only"))
	}
	return nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
