// Package policy is the IAM policy language and its evaluation. It is pure: no I/O, no clock, no store.
//
//	text                --Parse-->    *Policy   validated for its Kind, compiled, immutable: meant to be cached
//	*Request, *Policies --Evaluate--> Decision
//
// The language and the rules are those of the IAM User Guide (reference_policies_*.html), which comments
// here name by page: "grammar", "elements_resource", "condition_operators", "variables", "evaluation-logic".
// Karri adds one thing: the effect Limit, which carries quotas (see Policy.Limits) and never allows or denies.
//
// Where AWS leaves a corner undefined, the choice is the one that gives less access, and a comment says so.
package policy
