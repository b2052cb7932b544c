//go:build !nofence

package engine

// fenced makes an owner stop by itself when it could not renew its lease in time. See the file of the same name in package postgres.
const fenced = true
