package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// TakesRole checks the role of a connection as a pool does when it has made one.
func TakesRole(ctx context.Context, conn *pgx.Conn, role string) error {
	return takesRole(role)(ctx, conn)
}
