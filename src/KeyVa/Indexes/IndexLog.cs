using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>Puts what happens to an index into the log of a partition.</summary>
internal static class IndexLog
{
    /// <summary>Waits, on the calling thread, until it is logged and applied.</summary>
    public static WriteResult Write(Partition partition, IndexAction action, long index, ReadOnlySpan<byte> from)
    {
        SyncWriteRequest request = SyncWriteRequest.ForThisThread;
        request.OwnCommand.Clear();
        request.OwnCommand.Index(action, index, from);
        request.Begin(request.OwnCommand);
        partition.Writer.Write(request);
        return request.Result;
    }
}
