package sqlstore_test

const childVariable = "SQLSTORE_CHILD"

func child(string) bool { return false }
