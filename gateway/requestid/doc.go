// Package requestid names requests. The answer, the log and the audit have the same name.
package requestid
