using System.Globalization;
using System.Text;
using KeyVa.Tests.Stores;

namespace KeyVa.Tests.Transactions;

/// <summary>
/// Runs a script of several transactions step by step and writes down what each step came to. A step: the transaction's name,
/// then <c>r key</c>, <c>u key</c> (read for update), <c>w key value</c>, <c>d key</c>, <c>s</c> (scan everything), <c>c</c>, <c>a</c>.
/// A step that has to wait for a lock says so, and what it came to is written as soon as another step lets it go on.
/// </summary>
internal sealed class Script(Store store, TransactionOptions options) : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly Dictionary<string, Transaction> _transactions = [];
    private readonly List<(string Step, Task<string> Result)> _waiting = [];
    private readonly StringBuilder _transcript = new();

    public async Task<string> Run(string steps)
    {
        List<string> left = [.. steps.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)];
        while (left.Count > 0)
        {
            // A transaction that waits does nothing else: its next steps are put off until it goes on.
            int next = left.FindIndex(step => !_waiting.Exists(waiting => NameOf(waiting.Step) == NameOf(step)));
            if (next < 0)
            {
                throw new InvalidOperationException($"everybody waits:\n{_transcript}");
            }

            string step = left[next];
            left.RemoveAt(next);
            await RunStep(step);
        }

        _transcript.Append("  state: ").AppendLine(StateOf(store));
        return _transcript.ToString();
    }

    public void Dispose()
    {
        foreach (Transaction transaction in _transactions.Values)
        {
            transaction.Dispose();
        }
    }

    public static string StateOf(Store store)
    {
        var records = new SortedDictionary<string, string>(StringComparer.Ordinal);
        using ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true });
        while (cursor.MoveNext())
        {
            records.Add(Encoding.UTF8.GetString(cursor.Key), Encoding.UTF8.GetString(cursor.Value));
        }

        return Text(records);
    }

    private bool IsWaiting(string name) => _transactions.TryGetValue(name, out Transaction? transaction) && IsWaiting(transaction);

    private static string NameOf(string step) => step.Split(' ')[0];

    private async Task RunStep(string step)
    {
        Task<string> result = Begin(step.Split(' '));
        if (!IsWaiting(NameOf(step)))
        {
            Note(step, await result.WaitAsync(Patience));
        }
        else
        {
            Note(step, "waits");
            _waiting.Add((step, result));
        }

        await SettleWaiting();
    }

    private static string Text(SortedDictionary<string, string> records) => string.Join(' ', records.Select(static r => $"{r.Key}={r.Value}"));

    /// <summary>A wait is over once nobody is in its way: those that are, show by the locks that others hold.</summary>
    private async Task SettleWaiting()
    {
        for (int i = 0; i < _waiting.Count; i++)
        {
            (string step, Task<string> result) = _waiting[i];
            if (!IsWaiting(_transactions[NameOf(step)]))
            {
                Note(step, await result.WaitAsync(Patience));
                _waiting.RemoveAt(i--);
            }
        }
    }

    private bool IsWaiting(Transaction transaction) =>
        store.Locks?.Describe(1000).Any(l => l.IsWaiting && l.OwnerId == transaction.Number) == true;

    private void Note(string step, string result) => _transcript.Append("  ").Append(step).Append(" -> ").AppendLine(result);

    private async Task<string> Begin(string[] step)
    {
        if (!_transactions.TryGetValue(step[0], out Transaction? transaction))
        {
            _transactions.Add(step[0], transaction = store.Begin(options with { Name = step[0] }));
        }

        byte[] key = step.Length > 2 ? StoreFixture.Bytes(step[2]) : [];
        switch (step[1])
        {
            case "b":
                return "begun";
            case "r":
                return Text(await transaction.GetAsync(key));
            case "u":
                return Text(await transaction.GetForUpdateAsync(key));
            case "w":
                return Text((await transaction.PutAsync(key, StoreFixture.Bytes(step[3]))).Status);
            case "d":
                return Text((await transaction.RemoveAsync(key)).Status);
            case "s":
                return await Scan(transaction);
            case "c":
                return Text((await transaction.CommitAsync()).Status);
            case "a":
                await transaction.RollbackAsync();
                return "rolled back";
            default:
                throw new ArgumentException($"no step '{string.Join(' ', step)}'");
        }
    }

    private static async Task<string> Scan(Transaction transaction)
    {
        var records = new SortedDictionary<string, string>(StringComparer.Ordinal);
        try
        {
            await foreach (Record record in transaction.ScanAsync(new ScanOptions { Unordered = true }))
            {
                records.Add(Encoding.UTF8.GetString(record.Key.Span), Encoding.UTF8.GetString(record.Value.Span));
            }
        }
        catch (RefusedException refused)
        {
            return Text(refused.Status);
        }

        return Text(records);
    }

    private static string Text(in ReadResult result) => result.Found ? Encoding.UTF8.GetString(result.Record.Value.Span) : Text(result.Status);

    private static string Text(Status status) => status.ToString().ToLower(CultureInfo.InvariantCulture);
}
