namespace KeyVa.Histories;

/// <summary>What a transaction that read all accounts found.</summary>
public sealed record BankRead(int Process, long Invoked, long Completed, Outcome Outcome, IReadOnlyList<long> Balances);

/// <summary>
/// Money moves between accounts and is neither made nor lost: each committed transaction that reads all of them finds the same
/// total. Holds from snapshot isolation on; below, reads may meet a transfer halfway. Stateless.
/// </summary>
public static class BankChecker
{
    private const int MostReported = 5;

    /// <summary>What is wrong, for a person; null if nothing is.</summary>
    public static string? Check(IEnumerable<BankRead> reads, long total, bool mayBeNegative = true)
    {
        StringWriter text = new();
        int wrong = 0;
        foreach (BankRead read in reads.Where(static read => read.Outcome == Outcome.Ok))
        {
            long sum = read.Balances.Sum();
            long least = read.Balances.DefaultIfEmpty().Min();
            if ((sum != total || (least < 0 && !mayBeNegative)) && ++wrong <= MostReported)
            {
                text.Write($"p{read.Process} {HistoryText.Span(read.Invoked, read.Completed)} read a total of {sum} instead of {total}"
                    + $"{(least < 0 ? $", one account at {least}" : "")}: {string.Join(' ', read.Balances)}\n");
            }
        }

        return wrong == 0 ? null : $"{wrong} reads are wrong\n{text}";
    }
}
