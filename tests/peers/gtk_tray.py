"""The least that a GTK program with a tray icon can be."""
import gi

gi.require_version("Gtk", "3.0")
gi.require_version("AyatanaAppIndicator3", "0.1")
from gi.repository import AyatanaAppIndicator3, Gtk

menu = Gtk.Menu()
for label in ("Private", "Connect", "Quit"):
    menu.append(Gtk.MenuItem(label=label))
menu.show_all()
indicator = AyatanaAppIndicator3.Indicator.new(
    "peer", "dialog-information", AyatanaAppIndicator3.IndicatorCategory.APPLICATION_STATUS
)
indicator.set_status(AyatanaAppIndicator3.IndicatorStatus.ACTIVE)
indicator.set_menu(menu)
Gtk.main()
