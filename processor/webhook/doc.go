// Package webhook delivers webhooks. The tracker submits each webhook as a job, and this package has the handler. An
// attempt is one POST, signed as Standard Webhooks specifies, to an address that the dialer's guard allows. A failed
// delivery is retried like any job, with a backoff over hours.
package webhook
