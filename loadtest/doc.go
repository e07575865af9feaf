// Package loadtest holds what measures Ackwire under load.
package loadtest
