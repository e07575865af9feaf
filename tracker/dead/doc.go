// Package dead reads the topic of dead letters: records that a service could not read and has set aside, with the
// reason in headers.
package dead
