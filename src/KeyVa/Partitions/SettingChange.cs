using System.Globalization;

namespace KeyVa.Partitions;

/// <summary>
/// A change of one of a partition's own settings on its way through the partition's log: the one way, whether the log is replicated or not. Whoever asked hears what it came to when
/// it is applied here, on the thread that applies.
/// </summary>
internal sealed class SettingChange : WriteRequest
{
    private readonly Action<WriteResult> _done;

    public SettingChange(string name, string value, Action<WriteResult> done)
    {
        Command = new CommandBuilder();
        Command.Setting(name, value);
        _done = done;
    }

    public override void Complete()
    {
        Command!.Dispose();
        _done(Result);
    }

    /// <summary>Changes a setting, and ends when it is applied here.</summary>
    public static async Task<PartitionResult> RunAsync(PartitionRegistry registry, StoreContext context, long id, string name, string value, CancellationToken cancellation)
    {
        if (!PartitionSettings.None.TryWith(name, value, out PartitionSettings? wanted))
        {
            return Refuse(Status.Invalid, PartitionSettings.AllowedFor(name) is { } allowed
                ? $"the setting '{name}' of a partition cannot be '{value}'; allowed is: {allowed}"
                : $"a partition has no setting '{name}'; there is: {string.Join(", ", PartitionSettings.Names)}");
        }

        if (!registry.Map.TryFind(id, out Partition? partition))
        {
            return NotFound(id);
        }

        if (await FindObstacleAsync(partition, context, wanted, cancellation).ConfigureAwait(false) is { } obstacle)
        {
            return Refuse(Status.Invalid, obstacle);
        }

        var done = new TaskCompletionSource<WriteResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        partition.Writer.WriteAsync(new SettingChange(name, wanted.ValueOf(name), done.SetResult));
        WriteResult result = await done.Task.WaitAsync(cancellation).ConfigureAwait(false);
        return !result.IsOk ? Refuse(result.Status, result.Detail)
            : registry.List().FirstOrDefault(one => one.Id == id) is { } changed ? new PartitionResult { Status = Status.Ok, Partition = changed }
            : NotFound(id);
    }

    /// <summary>Why the partition cannot have what is wanted, as far as is known; null: nothing is in its way.</summary>
    private static async Task<string?> FindObstacleAsync(Partition partition, StoreContext context, PartitionSettings wanted, CancellationToken cancellation)
    {
        int replicas = wanted.Acknowledgement.Replicas;
        if (replicas == 0)
        {
            return null;
        }

        if (partition.Definition.IsVolatile)
        {
            return string.Create(CultureInfo.InvariantCulture, $"acknowledgement {wanted.Acknowledgement} asks for replicas, and partition {partition.Id} is volatile, which is never replicated");
        }

        if (context.Replication is null)
        {
            return AcknowledgementRules.TooFew(replicas, 0);
        }

        // None: this node has joined just now, and does not know them yet.
        int voters = await context.Replication.CountVotersAsync(partition.Id).WaitAsync(cancellation).ConfigureAwait(false);
        return voters == 0 || replicas < voters ? null : AcknowledgementRules.TooFew(replicas, voters - 1);
    }

    private static PartitionResult NotFound(long id) =>
        Refuse(Status.NotFound, string.Create(CultureInfo.InvariantCulture, $"there is no partition {id}; 'keyva admin partition list' shows them"));

    private static PartitionResult Refuse(Status status, string? detail) => new() { Status = status, Detail = detail };
}
