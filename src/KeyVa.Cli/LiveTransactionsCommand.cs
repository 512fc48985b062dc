using System.CommandLine;
using System.Globalization;
using System.Text.Json;

namespace KeyVa.Cli;

/// <summary><c>admin transactions</c>: the transactions of a server that are under way, and ending one. Stateless.</summary>
internal static class LiveTransactionsCommand
{
    private static readonly string[] Levels = ["serializable", "repeatable-read", "read-committed", "read-uncommitted"];

    public static Command Create(Session session)
    {
        Option<int> locks = new("--locks") { Description = "List the newest N locks of each", HelpName = "N", DefaultValueFactory = static _ => 0 };
        Command list = CommandTree.Command(
            session,
            "transactions",
            "List the transactions under way, the oldest first: age, isolation, keys written, locks held and waited for",
            [locks],
            invocation => ListAsync(invocation, invocation.Get(locks)));
        Argument<long> number = new("NUMBER") { Description = "The transaction's number" };
        list.Subcommands.Add(CommandTree.Command(
            session,
            "end",
            "Roll a transaction back and release its locks; its owner is told that it has expired",
            [number],
            async invocation =>
            {
                long which = invocation.Get(number);
                await invocation.Control.EndTransactionAsync(which, invocation.Cancellation);
                if (invocation.Json)
                {
                    invocation.WriteJson(json => json.WriteNumber("ended"u8, which));
                }
                else
                {
                    invocation.Terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"ended transaction {which}"));
                }

                return ExitCode.Done;
            }));
        return list;
    }

    private static async Task<int> ListAsync(Invocation invocation, int locks)
    {
        if (locks is < 0 or > 1000)
        {
            throw CommandException.Usage("--locks must be 0 to 1000");
        }

        IReadOnlyList<TransactionInfo> all = await invocation.Control.ListTransactionsAsync(0, locks, invocation.Cancellation);
        if (invocation.Json)
        {
            foreach (TransactionInfo one in all)
            {
                invocation.WriteJson(json => WriteProperties(json, one));
            }

            return ExitCode.Done;
        }

        if (all.Count == 0)
        {
            invocation.Terminal.Say("no transaction is under way");
            return ExitCode.Done;
        }

        Table.Write(
            invocation.Terminal,
            [">NUMBER", "NAME", ">AGE", ">LEFT", "ISOLATION", "CONTROL", ">KEYS", ">BYTES", ">LOCKS", "WAITS FOR", "BLOCKED BY"],
            all.Select(one => Row(invocation, one)));
        foreach (TransactionInfo one in locks == 0 ? [] : all)
        {
            foreach (TransactionLock held in one.Locks)
            {
                invocation.Terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{one.Number} holds {Describe(invocation, held)}"));
            }
        }

        return ExitCode.Done;
    }

    private static string[] Row(Invocation invocation, TransactionInfo one) =>
    [
        one.Number.ToString(CultureInfo.InvariantCulture),
        one.Name ?? "",
        Seconds(one.Age),
        Seconds(one.TimeLeft),
        Levels[(int)one.Isolation],
        one.IsCommitting ? "committing" : one.IsReadOnly ? "read-only" : one.Concurrency == Concurrency.Pessimistic ? "pessimistic" : "optimistic",
        string.Create(CultureInfo.InvariantCulture, $"{one.KeysWritten}{(one.RangesRemoved > 0 ? $"+{one.RangesRemoved} ranges" : "")}"),
        one.Bytes.ToString(CultureInfo.InvariantCulture),
        one.LocksHeld.ToString(CultureInfo.InvariantCulture),
        one.WaitsFor is { } waits ? Describe(invocation, waits) : "",
        string.Join(", ", one.BlockedBy),
    ];

    private static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.0}s");

    private static string Describe(Invocation invocation, TransactionLock held)
    {
        string what = held.IsKey
            ? $"'{KeyText.Format(held.Range.From.Span, invocation.KeyEncoding)}'"
            : $"{Bound(invocation, held.Range.From)}..{Bound(invocation, held.Range.To)}";
        return $"{what} {(held.IsExclusive ? "exclusive" : "shared")}";
    }

    private static string Bound(Invocation invocation, ReadOnlyMemory<byte> bound) =>
        bound.IsEmpty ? "" : $"'{KeyText.Format(bound.Span, invocation.KeyEncoding)}'";

    private static void WriteProperties(Utf8JsonWriter json, TransactionInfo one)
    {
        json.WriteNumber("number"u8, one.Number);
        json.WriteString("name"u8, one.Name ?? "");
        json.WriteNumber("ageMs"u8, (long)one.Age.TotalMilliseconds);
        json.WriteNumber("timeLeftMs"u8, (long)one.TimeLeft.TotalMilliseconds);
        json.WriteString("isolation"u8, Levels[(int)one.Isolation]);
        json.WriteBoolean("pessimistic"u8, one.Concurrency == Concurrency.Pessimistic);
        json.WriteBoolean("readOnly"u8, one.IsReadOnly);
        json.WriteBoolean("committing"u8, one.IsCommitting);
        json.WriteNumber("snapshotVersion"u8, one.SnapshotVersion);
        json.WriteNumber("keysWritten"u8, one.KeysWritten);
        json.WriteNumber("rangesRemoved"u8, one.RangesRemoved);
        json.WriteNumber("bytes"u8, one.Bytes);
        json.WriteNumber("locksHeld"u8, one.LocksHeld);
        json.WriteStartArray("locks"u8);
        foreach (TransactionLock held in one.Locks)
        {
            WriteLock(json, held);
        }

        json.WriteEndArray();
        if (one.WaitsFor is { } waits)
        {
            json.WritePropertyName("waitsFor"u8);
            WriteLock(json, waits);
            json.WriteStartArray("blockedBy"u8);
            foreach (string name in one.BlockedBy)
            {
                json.WriteStringValue(name);
            }

            json.WriteEndArray();
        }
    }

    private static void WriteLock(Utf8JsonWriter json, TransactionLock held)
    {
        json.WriteStartObject();
        if (held.IsKey)
        {
            RecordJson.WriteKey(json, held.Range.From.Span);
        }
        else
        {
            RecordJson.WriteBytes(json, "from"u8, "from64"u8, held.Range.From.Span);
            RecordJson.WriteBytes(json, "to"u8, "to64"u8, held.Range.To.Span);
        }

        json.WriteBoolean("exclusive"u8, held.IsExclusive);
        json.WriteEndObject();
    }
}
