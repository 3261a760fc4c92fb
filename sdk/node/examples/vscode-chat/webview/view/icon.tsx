// Codicons, which say nothing to a screen reader: the control that carries one has a label.

export type IconName =
  | "add"
  | "arrow-left"
  | "arrow-up"
  | "chevron-down"
  | "chevron-right"
  | "check"
  | "comment-discussion"
  | "copy"
  | "debug-stop"
  | "edit"
  | "error"
  | "history"
  | "info"
  | "key"
  | "loading"
  | "refresh"
  | "settings-gear"
  | "sparkle"
  | "trash"
  | "megaphone"
  | "warning";

export function Icon({ name, spin }: { name: IconName; spin?: boolean }) {
  return <span class={`codicon codicon-${name}${spin ? " codicon-modifier-spin" : ""}`} aria-hidden="true" />;
}

interface IconButtonProps {
  icon: IconName;
  label: string;
  onClick: () => void;
  disabled?: boolean;
  class?: string;
}

export function IconButton({ icon, label, onClick, disabled, class: extra }: IconButtonProps) {
  return (
    <button
      type="button"
      class={`icon-button ${extra ?? ""}`}
      aria-label={label}
      title={label}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
