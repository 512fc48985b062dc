using System.Globalization;
using Microsoft.Extensions.Logging;

namespace KeyVa.Server.Identity;

/// <summary>
/// One line for each call of the control plane, whatever became of it: who, from where, by which door, what, to what, with what outcome. Its
/// category is <c>KeyVa.Audit</c>. Never a secret: what a line says comes from the table of permissions. Thread-safe.
/// </summary>
internal sealed partial class AuditLog(ILoggerFactory logs)
{
    public const string Category = "KeyVa.Audit";

    private readonly ILogger _log = logs.CreateLogger(Category);

    public void Note(Caller caller, Permission permission, string target, string outcome, TimeSpan took)
    {
        string name = caller.Name.Length == 0 ? "-" : caller.Name;
        string milliseconds = took.TotalMilliseconds.ToString("F1", CultureInfo.InvariantCulture);
        LogCall(name, caller.Address, permission.Operation, target.Length == 0 ? "-" : target.Replace('"', '\''), outcome, milliseconds);
    }

    [LoggerMessage(EventId = 1, Level = LogLevel.Information, Message = "audit user={User} address={Address} operation=\"{Operation}\" target=\"{Target}\" outcome={Outcome} ms={Milliseconds}")]
    private partial void LogCall(string user, string address, string operation, string target, string outcome, string milliseconds);
}
