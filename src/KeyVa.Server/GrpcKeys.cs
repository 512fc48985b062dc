using Google.Protobuf;
using KeyVa.Partitions;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>Which partitions a message of the gRPC data plane is about. Stateless.</summary>
internal static class GrpcKeys
{
    /// <summary>Adds the keys and ranges that a message names; false: it names none, or they say nothing of what it touches (transactions, queries of indexes).</summary>
    public static bool TryAdd(object request, TouchedPartitions touched)
    {
        switch (request)
        {
            case GetRequest get:
                foreach (ByteString key in get.Keys)
                {
                    touched.Add(key.Span);
                }

                return true;
            case ScanRequest scan:
                touched.Add(scan.Prefix.Memory, scan.From.Span, scan.To.Span);
                return true;
            case HistoryRequest history:
                touched.Add(history.Key.Span);
                return true;
            case UpsertRequest upsert:
                foreach (Put put in upsert.Puts)
                {
                    touched.Add(put.Key.Span);
                }

                return true;
            case RemoveRequest remove:
                foreach (Removal removal in remove.Removals)
                {
                    touched.Add(removal.Key.Span);
                }

                return true;
            case Protocol.V1.WriteRequest write:
                foreach (Protocol.V1.Operation operation in write.Operations)
                {
                    Add(operation, touched);
                }

                return true;
            default:
                return false;
        }
    }

    // What it is not is refused behind this.
    private static void Add(Protocol.V1.Operation operation, TouchedPartitions touched)
    {
        switch (operation.KindCase)
        {
            case Protocol.V1.Operation.KindOneofCase.Put:
                touched.Add(operation.Put.Key.Span);
                break;
            case Protocol.V1.Operation.KindOneofCase.Remove:
                touched.Add(operation.Remove.Key.Span);
                break;
            case Protocol.V1.Operation.KindOneofCase.Merge:
                touched.Add(operation.Merge.Key.Span);
                break;
            case Protocol.V1.Operation.KindOneofCase.Check:
                touched.Add(operation.Check.Key.Span);
                break;
            case Protocol.V1.Operation.KindOneofCase.RemoveRange:
                touched.Add(operation.RemoveRange.Prefix.Memory, operation.RemoveRange.From.Span, operation.RemoveRange.To.Span);
                break;
        }
    }
}
