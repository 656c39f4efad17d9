// Package ebs holds the shapes of EBS on the wire, generated from AWS's own description by internal/aws/gen:
// requests and results, the API interface that a service implements, and the table of operations.
//
// In requests numbers and booleans that a client may leave out are pointers, for absent is not zero there;
// strings, lists, maps and times are plain, absent being their zero value; structs are pointers. In answers
// numbers and booleans are plain and always written (headers: when not zero), empty strings, zero times and
// nil lists are left out, and an empty list that is not nil is written as an empty element. A struct that is
// used both ways follows the rule of requests.
package ebs
