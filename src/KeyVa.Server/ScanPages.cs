using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>
/// Sends what a cursor goes through as messages of about 64 KiB. It waits, without a thread, while the caller reads
/// slowly, and ends when the caller goes away. Stateless.
/// </summary>
internal static class ScanPages
{
    private const int PageBytes = 64 * 1024;
    private const int RecordOverhead = 40;

    /// <summary>The request as the store takes it: one record more than asked for tells whether there is more.</summary>
    internal static ScanOptions ToOptions(ScanRequest request) => new()
    {
        Prefix = request.Prefix.Memory,
        From = request.From.Memory,
        To = request.To.Memory,
        After = request.After.Memory,
        Limit = request.Limit is 0 or long.MaxValue ? 0 : request.Limit + 1,
        Reverse = request.Reverse,
        KeysOnly = request.KeysOnly,
        Unordered = request.Unordered,
        FillCache = !request.SkipCache,
    };

    /// <summary>
    /// Sends records up to a limit (0: all). Every message but the last says where to go on if the stream breaks; the last
    /// one does where the limit cut the range off.
    /// </summary>
    internal static async ValueTask StreamAsync(ScanCursor cursor, long limit, GrpcResponseStream<ScanResponse> responses)
    {
        ScanResponse page = new();
        long bytes = 0;
        long left = limit == 0 ? long.MaxValue : limit;
        bool more = cursor.MoveNext();
        while (more && left > 0)
        {
            Protocol.V1.Record record = ProtoRecord.Of(cursor);
            page.Records.Add(record);
            bytes += record.Key.Length + record.Value.Length + RecordOverhead;
            left--;
            more = cursor.MoveNext();
            if (more && (bytes >= PageBytes || left == 0))
            {
                page.Resume = record.Key;
                await responses.WriteAsync(page);
                page = new ScanResponse();
                bytes = 0;
            }
        }

        if (page.Records.Count > 0)
        {
            await responses.WriteAsync(page);
        }
    }
}
