using System.Globalization;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>What gRPC and REST share about the transactions that the server holds by their ids. Stateless.</summary>
internal static class TransactionIds
{
    /// <summary>What to say of an id that there is not.</summary>
    internal const string Unknown =
        "there is no transaction of this id: it was committed or rolled back, or its time limit passed, or the server was started since, or another user began it; begin another one";

    /// <summary>An id as text: 32 hexadecimal digits.</summary>
    internal static string Format(Guid id) => id.ToString("N", CultureInfo.InvariantCulture);

    /// <summary>An id of its text; of any other text one that no transaction has.</summary>
    internal static Guid Parse(ReadOnlySpan<char> text) => Guid.TryParseExact(text, "N", out Guid id) ? id : Guid.Empty;

    /// <summary>Whose the transactions are that a request begins and works with; empty while there are no users.</summary>
    internal static string OwnerOf(HttpContext http) => Caller.Of(http).User?.Name ?? "";

    internal static string NoSavepoint(int number) =>
        string.Create(CultureInfo.InvariantCulture, $"the transaction has no savepoint {number}; they count from 1, and 0 is its beginning");

    /// <summary>How the store has ended a transaction that its owner has not; null if it runs.</summary>
    internal static CommitResult? Ended(Transaction transaction) => transaction.IsActive ? null : transaction.EndOfWork();

    internal static bool TryRollbackTo(Transaction transaction, int number)
    {
        if (number < 0)
        {
            return false;
        }

        return transaction.TryRollbackTo(Savepoint.FromNumber(number));
    }

    /// <summary>Reads keys, or locks and reads them one by one.</summary>
    internal static async ValueTask<MultiReadResult> ReadAsync(Transaction transaction, List<ReadOnlyMemory<byte>> keys, bool forUpdate)
    {
        if (!forUpdate && keys.Count != 1)
        {
            return await transaction.GetAsync(keys);
        }

        Record?[] records = new Record?[keys.Count];
        for (int i = 0; i < records.Length; i++)
        {
            ReadResult one = await (forUpdate ? transaction.GetForUpdateAsync(keys[i]) : transaction.GetAsync(keys[i]));
            if (one.Status > Status.NotFound)
            {
                return new MultiReadResult { Status = one.Status, Detail = one.Detail, Records = [] };
            }

            records[i] = one.Found ? one.Record : null;
        }

        return new MultiReadResult { Records = records };
    }
}
