package organizations

// Notes says per operation what of it is not honoured.
func Notes() map[string]string {
	return map[string]string{
		"CreateAccount":           "The name is also the account's alias: 3 to 63 lower-case letters, digits and hyphens. It is made at once; IamUserAccessToBilling means nothing, as there are no bills.",
		"CloseAccount":            "Suspends the account; karri account delete ends it.",
		"ListCreateAccountStatus": "Only those that succeeded: what failed was answered with its error.",
	}
}
