// Package wiretest checks the generated shapes of all services: golden requests and answers of every
// operation, and round trips with AWS's Go SDK as the client. Everything in it works by reflection over the
// tables of operations, so that a new operation is covered by being listed.
package wiretest
