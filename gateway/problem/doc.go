// Package problem makes those errors for clients that several parts of the gateway return.
package problem
