// Package intake takes in what clients ask for: submits, which make jobs, and orders, which cancel, retry or erase
// them. It answers once that is durable in Kafka. It also knows whether Kafka answers, and writes the audit.
//
// Begin at Submits.Submit and Orders.Cancel. HTTP and sockets are other packages, which call these.
package intake
