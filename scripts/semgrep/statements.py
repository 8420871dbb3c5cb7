"""Examples for statements.yml: `ruleid` marks what must be found, `ok` what must not."""

_COLUMNS = "id, name"
ORDER = "ORDER BY id"


def refused(connection, name, names):
    # ruleid: sql-only-from-constants
    connection.execute(f"SELECT id FROM account WHERE name = '{name}'")
    # ruleid: sql-only-from-constants
    connection.execute(f"DELETE FROM account WHERE id IN ({','.join(names)})")
    # ruleid: sql-only-from-constants
    connection.execute("SELECT id FROM account WHERE name = '%s'" % name)
    # ruleid: sql-only-from-constants
    connection.execute("UPDATE account SET name = '{}'".format(name))
    # ruleid: sql-only-from-constants
    connection.execute("SELECT id FROM account ORDER BY " + name)
    # ruleid: sql-only-from-constants
    statement = f"""
    SELECT {_COLUMNS} FROM account WHERE name = '{name}'"""
    return connection.execute(statement)


def taken(connection, name):
    # ok: sql-only-from-constants
    connection.execute(f"SELECT {_COLUMNS} FROM account WHERE name = $1 {ORDER}", name)
    # ok: sql-only-from-constants
    connection.execute("SELECT id FROM account WHERE name = ?", [name])
    # ok: sql-only-from-constants
    connection.execute("SELECT id FROM account " + ORDER)
    # ok: sql-only-from-constants
    return f"The SELECT of {name}"
