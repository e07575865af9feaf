// Package flags holds the settings of the commands that run a processor, as flags, and converts them to the
// configurations of packages processor and webhook.
package flags
