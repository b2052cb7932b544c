// Package referenceloop is what the figures of the product are compared with: the least that an engine of this kind can do on the same
// machine, without any of the product's code. A trigger comes as a NATS request; a row is inserted, many of them in one statement; after
// the commit the reply goes out and an HTTP POST is made; the row is updated, again many in one statement.
//
// It does no matching, keeps no tenants apart, has neither retries nor timers, records no steps and recovers nothing after a crash. So it
// is a floor under the cost, not a product.
package referenceloop
