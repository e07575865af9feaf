// Package demo holds the demo job types: small handlers that show every way in which a job can end.
package demo
