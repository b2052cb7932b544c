// Package bench measures the product beside the reference loop, on the same machine and in the same run, round by round in turn, so that
// what else the machine does meets both.
//
// The work: one event on NATS, matched by one active workflow among 1,000, of which 200 share its event type with another filter; one
// HTTP POST of a JSON body of 480 bytes to a target in this process; execution and step recorded in PostgreSQL with fsync on. A round
// is over when every POST has been received and every execution is recorded as SUCCEEDED.
package bench
